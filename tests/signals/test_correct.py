"""The correct signal: its log-odds by hand, and the noise that it sets itself."""

import math

import pytest
import torch
from torch import nn

from neuralyzer.signals.correct import Correct
from neuralyzer.signals.perturbations import noisy
from neuralyzer.signals.signal import Batch, Context, Sample
from tests.models.cases import CASES

CLASSES = CASES["mlp"].objective


class Threshold(nn.Module):
    """Class 1 where the only feature is above 0."""

    def forward(self, x):
        return torch.cat([-x, x], 1)


def test_log_odds_of_right_copies():
    """A row at distance d is right on as many copies as have noise above -d."""
    context = Context(CLASSES, torch.ones(1), seed=8, settings={"correct": {"noise": 1.0}})
    generator = torch.Generator().manual_seed(8)
    draws = [float(torch.randn(1, generator=generator)) for _ in range(8)]
    noises = [sign * draw for draw in draws for sign in (1, -1)]
    distances = [-9.0, -0.7, 0.2, 0.9, 9.0]
    rows = Batch(torch.tensor(distances)[:, None], torch.ones(5, dtype=torch.int64))
    got, _ = Correct().measure(Threshold(), rows, rows, context)
    right = [sum(noise + distance > 0 for noise in noises) for distance in distances]
    assert right[0] == 0 and right[-1] == 16 and 0 < right[1] < right[3] < 16
    assert got.tolist() == pytest.approx([math.log((k + 0.5) / (16 - k + 0.5)) for k in right], rel=1e-5)


def samples(distances):
    rows = Batch(torch.tensor(distances)[:, None], torch.ones(len(distances), dtype=torch.int64))
    return [Sample(Threshold(), [], [rows]), Sample(Threshold(), [rows], [])]


def test_the_noise_makes_never_seen_rows_right_four_times_in_five():
    distances = torch.linspace(0.3, 2, 60).tolist()
    context = Context(CLASSES, torch.ones(1), seed=0)
    noise = Correct().prepare(samples(distances), context)["noise"]
    rows = samples(distances)[0].never[0]
    shares = [
        (copy[:, 0] > 0).float().mean() for copy in noisy(rows.x, 4, context, noise)
    ]  # what the search itself looks at
    assert torch.stack(shares).mean().item() == pytest.approx(0.8, abs=0.02)
    fresh = Context(CLASSES, torch.ones(1), seed=77)
    shares = [(copy[:, 0] > 0).float().mean() for copy in noisy(rows.x, 2000, fresh, noise)]
    assert torch.stack(shares).mean().item() == pytest.approx(0.8, abs=0.1)


def test_rows_that_no_noise_turns_get_the_most():
    assert Correct().prepare(samples([1e4] * 5), Context(CLASSES, torch.ones(1)))["noise"] > 7.9


def test_a_model_that_is_right_less_often_still_gets_noise_that_matters():
    """Without noise no copy would differ, and the signal would say nothing."""
    distances = [-3.0] * 40 + torch.linspace(0.1, 2, 60).tolist()
    context = Context(CLASSES, torch.ones(1), seed=0)
    noise = Correct().prepare(samples(distances), context)["noise"]
    rows = samples(distances)[0].never[0]
    shares = torch.stack([(copy[:, 0] > 0).float().mean() for copy in noisy(rows.x, 4, context, noise)])
    assert noise > 0.1 and shares.mean() == pytest.approx(0.9 * 0.6, abs=0.03)


def test_the_noise_where_nothing_is_known():
    context = Context(CLASSES, torch.ones(1))
    assert Correct().prepare(samples([1.0])[1:], context) == {"noise": 0.15}


def test_regression_reads_the_mean_residual_of_copies():
    case = CASES["regression"]
    module, rows = case.module(), Batch(*case.rows(6))
    context = Context(case.objective.scaled(torch.tensor([2.0])), torch.ones(6), seed=2)
    settings = Correct().prepare([], context)
    assert settings == {"noise": 0.15}
    context = Context(context.objective, context.spread, None, 2, {"correct": settings})
    got, _ = Correct().measure(module, rows, rows, context)
    generator = torch.Generator().manual_seed(2)
    draws = [0.15 * torch.randn(6, generator=generator) for _ in range(8)]
    residuals = [(module(rows.x + sign * draw) - rows.y).detach().norm(dim=1) / 2 for draw in draws for sign in (1, -1)]
    torch.testing.assert_close(got, -torch.stack(residuals).mean(0))
