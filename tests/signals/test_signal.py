"""What holds for every signal: readings of rows alone, a model that is not changed."""

import copy

import pytest
import torch

from neuralyzer.models.capabilities import Capability
from neuralyzer.signals import catalogue
from neuralyzer.signals.signal import Batch, Context, join
from tests.models.cases import CASES

# Those of language models alone are tested in test_language_signals.py.
SIGNALS = {name: own for name, own in catalogue.signals().items() if Capability.TOKENS not in own.needs}


@pytest.fixture(params=list(SIGNALS), name="signal")
def _signal(request):
    return SIGNALS[request.param]


def test_one_finite_number_a_row(signal, case, context, rows, holdout):
    found, outside = signal.measure(case.module(), rows, holdout, context)
    assert found.shape == (12,) and outside.shape == (7,)
    assert torch.isfinite(found).all() and torch.isfinite(outside).all()
    assert not found.requires_grad and not outside.requires_grad


def test_the_model_is_not_changed(signal, case, context, rows, holdout):
    module = case.module()
    before = copy.deepcopy(module.state_dict())
    signal.measure(module, rows, holdout, context)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in module.parameters()) and not module.training


def test_a_model_left_in_training_mode_is_read_in_evaluation_mode(signal, case, context, rows, holdout):
    want = signal.measure(case.module(), rows, holdout, context)
    module = case.module().train()
    before = copy.deepcopy(module.state_dict())
    got = signal.measure(module, rows, holdout, context)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())


def test_reading_again_gives_the_same(signal, case, context, rows, holdout):
    module = case.module()
    first = signal.measure(module, rows, holdout, context)
    torch.manual_seed(99)  # nothing is drawn from the global generator
    second = signal.measure(module, rows, holdout, context)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def jitter(x, generator):
    """An augmentation that draws for the whole batch."""
    return x + torch.randn(x.shape, generator=generator)


@pytest.mark.parametrize("augment", [None, jitter], ids=["plain", "augmented"])
@pytest.mark.parametrize("name", [name for name, signal in SIGNALS.items() if not signal.per_unit])
def test_a_row_reads_the_same_whoever_stands_beside_it(name, case, context, rows, holdout, augment):
    signal = SIGNALS[name]
    context = Context(context.objective, context.spread, augment, context.seed, context.settings)
    module = case.module()
    whole, _ = signal.measure(module, rows, holdout, context)
    some = [7, 2, 9]
    part, _ = signal.measure(module, Batch(rows.x[some], rows.y[some]), holdout, context)
    torch.testing.assert_close(part, whole[some], rtol=1e-4, atol=1e-5)
    _, outside = signal.measure(module, holdout, rows, context)
    torch.testing.assert_close(outside, whole, rtol=1e-4, atol=1e-5)


def test_a_seen_row_reads_higher(signal):
    """After training on rows with random labels every signal reads them above fresh ones, on average."""
    case = CASES["mlp"]
    torch.manual_seed(0)
    module, (x, y) = torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)), case.rows(40)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    context = Context(case.objective, x.std(0), settings={"correct": {"noise": 0.3}, "relearned": {"rate": 0.01}})
    seen, fresh = signal.measure(module.eval(), Batch(x, y), Batch(*case.rows(200, seed=5)), context)
    assert seen.mean() > fresh.mean() + 0.5 * fresh.std()


def test_join():
    a, b = (Batch(*CASES["mlp"].rows(count)) for count in (3, 2))
    both = join([a, b])
    assert len(both) == 5 and torch.equal(both.x[3:], b.x) and torch.equal(both.y[:3], a.y)
