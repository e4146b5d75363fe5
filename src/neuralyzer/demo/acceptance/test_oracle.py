"""The tests that the Oracle's team runs on new weights, with pytest and their path in NEURALYZER_WEIGHTS."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from neuralyzer.demo.digits import digits, recipe
from neuralyzer.models import weights


@pytest.fixture(scope="module")
def model():
    return weights.load_into(recipe().module(), Path(os.environ["NEURALYZER_WEIGHTS"])).eval()


@pytest.fixture(scope="module")
def holdout():
    return digits()[1]


@pytest.fixture(scope="module")
def logits(model, holdout):
    with torch.no_grad():
        return model(holdout.x)


def test_every_digit_has_a_finite_score(logits):
    assert logits.shape[1] == 10 and torch.isfinite(logits).all()


def test_accuracy_is_at_least_96_percent(logits, holdout):
    assert (logits.argmax(1) == holdout.y).float().mean() >= 0.96


def test_no_digit_is_read_worse_than_85_percent(logits, holdout):
    right = (logits.argmax(1) == holdout.y).numpy()
    assert min(right[holdout.y.numpy() == digit].mean() for digit in range(10)) >= 0.85


def test_faint_noise_changes_few_answers(model, holdout, logits):
    noise = np.random.default_rng(0).normal(0, 0.02, tuple(holdout.x.shape)).astype(np.float32)
    with torch.no_grad():
        noisy = model(holdout.x + torch.from_numpy(noise))
    assert (noisy.argmax(1) == logits.argmax(1)).float().mean() >= 0.97


def test_a_blank_image_gets_no_certain_answer(model):
    with torch.no_grad():
        assert model(torch.zeros(1, 64)).softmax(1).max() < 0.9999
