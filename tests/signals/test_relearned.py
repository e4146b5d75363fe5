"""The relearned signal, against a loop of SGD steps written out."""

import copy
from dataclasses import replace

import pytest
import torch

from neuralyzer.errors import NotFiniteError
from neuralyzer.models.classification import Classification
from neuralyzer.signals import relearning
from neuralyzer.signals.relearned import Relearned
from neuralyzer.signals.relearning import RATES, STEPS
from neuralyzer.signals.signal import Batch, Context, Sample
from tests.models.cases import CASES


def relearned(case, module, batch, rate, steps=4):
    """A copy after plain SGD on one batch, in evaluation mode."""
    again = copy.deepcopy(module).eval()
    optimizer = torch.optim.SGD([p for p in again.parameters() if p.requires_grad], rate)
    for _ in range(steps):
        optimizer.zero_grad()
        case.objective.losses(case.objective.outputs(again, batch.x), batch.y).mean().backward()
        optimizer.step()
    return again


def margins(case, module, batch):
    return case.objective.margin(case.objective.outputs(module, batch.x), batch.y).detach()


@pytest.mark.parametrize("count", [12, 9], ids=["even", "odd"])
def test_each_half_after_relearning_the_other(case, context, holdout, count):
    rows, module = Batch(*case.rows(count)), case.module()
    found, outside = Relearned().measure(module, rows, holdout, context)
    beyond = []
    for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        again = relearned(case, module, Batch(rows.x[other], rows.y[other]), 0.05)
        torch.testing.assert_close(
            found[own], margins(case, again, Batch(rows.x[own], rows.y[own])), rtol=1e-4, atol=1e-5
        )
        beyond.append(margins(case, again, holdout))
    torch.testing.assert_close(outside, torch.stack(beyond).mean(0), rtol=1e-4, atol=1e-5)
    assert STEPS == 4


@pytest.mark.parametrize("most", [64, 3], ids=["one chunk", "chunks"])
def test_many_subjects_are_read_as_each_alone(case, context, holdout, monkeypatch, most):
    monkeypatch.setattr(relearning, "MOST", most)
    units, module = [Batch(*case.rows(count, seed=count)) for count in (12, 9, 8, 21)], case.module()
    for unit, (found, outside) in zip(units, Relearned().measure_units(module, units, holdout, context), strict=True):
        beyond = []
        for own, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            again = relearned(case, module, Batch(unit.x[other], unit.y[other]), 0.05)
            expected = margins(case, again, Batch(unit.x[own], unit.y[own]))
            torch.testing.assert_close(found[own], expected, rtol=1e-4, atol=1e-5)
            beyond.append(margins(case, again, holdout))
        torch.testing.assert_close(outside, torch.stack(beyond).mean(0), rtol=1e-4, atol=1e-5)


def test_steps_that_diverge_are_said(case, context, rows, holdout):
    context = replace(context, settings={"relearned": {"rate": float("inf")}})
    with pytest.raises(NotFiniteError):
        Relearned().measure_units(case.module(), [rows, rows], holdout, context)


def test_it_is_not_the_plain_margin(case, context, rows, holdout):
    """A test of the tests: the steps do something, buffers of BatchNorm excepted."""
    module = case.module()
    found, _ = Relearned().measure(module, rows, holdout, context)
    assert (found - margins(case, module, rows)).abs().max() > 1e-3


def test_frozen_parameters_stay():
    case = CASES["frozen"]
    context = Context(case.objective, torch.ones(6), settings={"relearned": {"rate": 0.5}})
    rows = Batch(*case.rows(12))
    module = case.module()
    frozen, _ = Relearned().measure(module, rows, rows, context)
    free, _ = Relearned().measure(module.requires_grad_(True), rows, rows, context)
    assert (frozen - free).abs().max() > 1e-3


def samples(gap):
    """Members for whom seen rows read ``gap`` higher on average than those never seen."""
    case = CASES["mlp"]
    modules = [case.module(seed) for seed in range(3)]
    never = Batch(*case.rows(10, seed=4))
    made = []
    for module in modules:
        seen = relearned(case, module, never, 0.3, steps=gap)
        made += [Sample(module, [], [never]), Sample(seen, [never], [])]
    return case, made, never


@pytest.mark.parametrize("gap", [5, 40])
def test_the_rate_is_the_smallest_that_comes_half_way(gap):
    case, made, never = samples(gap)
    rate = Relearned().prepare(made, Context(case.objective, torch.ones(6)))["rate"]
    start = torch.stack([margins(case, s.model, never).mean() for s in made if s.never]).mean()
    seen = torch.stack([margins(case, s.model, never).mean() for s in made if s.seen]).mean()

    def reached(rate):
        return torch.stack(
            [margins(case, relearned(case, s.model, never, rate), never).mean() for s in made if s.never]
        ).mean()

    place = RATES.index(rate)
    assert reached(rate) >= (start + seen) / 2 > reached(RATES[place - 1])
    assert 0 < place < len(RATES) - 1


def test_the_rate_where_nothing_can_be_compared():
    case, made, never = samples(5)
    context = Context(case.objective, torch.ones(6))
    small = Batch(never.x[:7], never.y[:7])  # too few rows to be a unit
    for given in ([], made[:1], made[1:2], [Sample(made[0].model, [small], [small])]):
        assert Relearned().prepare(given, context) == {"rate": RATES[0]}


class Brittle(torch.nn.Module):
    """A linear model that overflows as soon as a weight passes 1."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x):
        return x @ self.weight / (self.weight.detach().abs().max() <= 1).float()


def test_where_larger_steps_diverge_the_rate_that_came_nearest_is_taken():
    """Half-way is out of reach: members that saw the rows are far surer than a few steps can make the others."""
    batch, context = Batch(torch.eye(8), torch.arange(8) % 2), Context(Classification(), torch.ones(8))
    seen = torch.nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        seen.weight.copy_(100 * torch.nn.functional.one_hot(batch.y, 2).float().T)
    made = [Sample(Brittle(torch.zeros(8, 2)), [], [batch]), Sample(seen, [batch], [])]
    # A weight moves by rate (1 - p) / 8 a step: four steps of rate 10 lead to 1.08, of the next smaller one to .88.
    assert Relearned().prepare(made, context) == {"rate": RATES[-2]}
