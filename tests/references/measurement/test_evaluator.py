"""A model is read once as long as its weights stay the same, and anew when anything else is asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuralyzer.references.pool import References
from neuralyzer.signals.margin import Margin


@pytest.fixture
def pool(kept, oracle):
    """The pool ``kept``, opened anew: its meter has read no model yet."""
    return References.open(kept.store.root, oracle)


@pytest.fixture
def reads(monkeypatch):
    """The rows that ``margin`` was asked for, call by call."""
    asked, measure = [], Margin.measure

    def spied(self, model, rows, holdout, context):
        asked.append(len(rows))
        return measure(self, model, rows, holdout, context)

    monkeypatch.setattr(Margin, "measure", spied)
    return asked


def test_both_halves_and_every_gauge_share_one_reading(pool, oracle, reads):
    parts = pool.parts(np.arange(10))
    first = pool.tuning.evaluator.read(oracle.model, parts, ["margin", "fisher"])
    again = pool.evaluation.evaluator.read(oracle.model, pool.parts(np.arange(10)))
    assert reads == [10] and again["margin"] is first["margin"] and "correct" in again


def test_other_rows_and_other_models_are_read(pool, oracle, reads):
    evaluator = pool.evaluator
    for model, rows in ((oracle.model, 10), (oracle.model, 11), (pool.member(0), 10), (pool.member(0), 10)):
        evaluator.read(model, pool.parts(np.arange(rows)), ["margin"])
    assert reads == [10, 11, 10, 10]  # two modules are two models, though their weights are the same


def test_the_holdout_is_read_once_for_all_requests(pool, oracle, monkeypatch):
    asked, measure = [], Margin.measure
    spied = lambda self, model, rows, holdout, context: (
        asked.append(len(holdout)) or measure(self, model, rows, holdout, context)
    )
    monkeypatch.setattr(Margin, "measure", spied)
    first, second = (pool.evaluator.read(oracle.model, pool.parts(np.arange(n)), ["margin"])["margin"] for n in (5, 9))
    assert asked == [len(oracle.holdout), 1]
    np.testing.assert_array_equal(first.holdout[0], second.holdout[0])
    alone = References.open(pool.store.root, oracle).evaluator.read(oracle.model, pool.parts(np.arange(9)), ["margin"])
    np.testing.assert_allclose(np.concatenate(second.rows), np.concatenate(alone["margin"].rows), rtol=1e-6)


def test_a_model_whose_weights_changed_is_read_again(pool, oracle, reads):
    model, parts = pool.member(0), pool.parts(np.arange(10))
    before = pool.evaluator.read(model, parts, ["margin"])["margin"]
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    after = pool.evaluator.read(model, parts, ["margin"])["margin"]
    assert reads == [10, 10] and not np.allclose(np.concatenate(before.rows), np.concatenate(after.rows))


def test_a_meter_of_other_rows_starts_anew(pool, oracle, reads):
    parts = pool.parts(np.arange(10))
    pool.evaluator.read(oracle.model, parts, ["margin"])
    other = replace(pool.evaluator, holdout=pool.evaluator.holdout_few)  # as a half on fewer holdout rows has it
    other.read(oracle.model, parts, ["margin"])
    assert reads == [10, 10]


def test_what_was_asked_long_ago_is_forgotten(pool, oracle, reads):
    for rows in (*range(1, 10), 1):
        pool.evaluator.read(oracle.model, pool.parts(np.arange(rows)), ["margin"])
    assert reads == [*range(1, 10), 1]
