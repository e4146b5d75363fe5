"""Fisher forgetting against its equation: the noise's size from a Fisher matrix in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from neuralyzer.errors import UsageError
from neuralyzer.influence.diagonal import fisher_squares
from neuralyzer.methods import catalogue
from neuralyzer.methods.strong.fisher import FURTHER, fisher_diagonal
from neuralyzer.models import weights
from neuralyzer.models.regression import Regression
from neuralyzer.progress import Silent
from tests.methods.contract import FORGOTTEN, RECIPE, ROWS, Tied, frozen
from tests.methods.small import untrained

LINEAR = replace(RECIPE, build=lambda: nn.Linear(5, 3))


def by_hand(task):
    """Of a linear softmax model: ``mean p_c (1 - p_c) x_j^2``; a last column for the bias."""
    x = task.oracle.data.x[FORGOTTEN:].double()
    p = (x @ task.model.weight.double().T + task.model.bias.double()).softmax(1)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.double)], 1)
    return torch.einsum("nc,nj->cj", p * (1 - p), x.square()).detach() / len(x)


def test_the_fisher_diagonal_of_a_linear_softmax_model():
    task = untrained(LINEAR)
    found = fisher_diagonal(task, Silent())
    expected = by_hand(task)
    torch.testing.assert_close(found["weight"].double(), expected[:, :-1], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found["bias"].double(), expected[:, -1], rtol=1e-4, atol=1e-7)


def test_it_expects_over_the_models_own_labels():
    """Of a deeper model, by one backward pass for each row and label."""
    task = untrained()
    expected = [torch.zeros_like(p) for p in task.model.parameters()]
    x, y = task.oracle.data.gather(np.arange(ROWS))
    for row in x:
        chances = task.model(row[None]).softmax(1)[0].detach()
        for label, chance in enumerate(chances):
            loss = nn.functional.cross_entropy(task.model(row[None]), torch.tensor([label]))
            gradients = torch.autograd.grad(loss, list(task.model.parameters()))
            expected = [total + chance * g.square() for total, g in zip(expected, gradients, strict=True)]
    found = fisher_squares(task.model, task.objective, x, y)
    for own, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=1e-6)


def test_of_squared_error_it_is_the_squared_jacobian():
    task = untrained(replace(RECIPE, build=lambda: nn.Linear(5, 1), objective=Regression()))
    found = fisher_diagonal(task, Silent())
    x = task.oracle.data.x[FORGOTTEN:]
    torch.testing.assert_close(found["weight"], x.square().mean(0, keepdim=True))
    torch.testing.assert_close(found["bias"], torch.ones(1))


@pytest.mark.parametrize("floor", [1e-6, 0.1])
def test_the_noise_is_normal_with_the_equations_size(floor):
    """Noise over what the equation says its size is, pooled over 100 seeds: standard normal for each parameter."""
    task = untrained(LINEAR)
    spread = (3e-3 ** (1 / 4)) * by_hand(task).clamp_min(floor) ** (-1 / 4)
    method, noise = catalogue.make("fisher", strength=3e-3, floor=floor), []
    for seed in range(100):
        made = method.unlearn(untrained(LINEAR, seed=seed))
        moved = torch.cat([made.weight - task.model.weight, (made.bias - task.model.bias).unsqueeze(1)], 1)
        noise.append((moved.double() / spread).detach().numpy())
    noise = np.array(noise)
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert np.abs(noise.std(0) - 1).max() < 0.3 and np.abs(noise.mean(0)).max() < 0.4
    if floor == 0.1:
        assert (by_hand(task) < floor).any() and (by_hand(task) > floor).any()


def test_sixteen_times_the_strength_is_twice_the_noise():
    task = untrained()
    one, other = (catalogue.make("fisher", strength=strength).unlearn(task) for strength in (1e-4, 16e-4))
    for before, small, large in zip(task.model.parameters(), one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(large - before, 2 * (small - before), rtol=1e-3, atol=1e-6)


def test_frozen_tied_and_normalised_models_and_seeds():
    task = untrained(replace(RECIPE, build=frozen))
    before, state = weights.digest(task.model), torch.get_rng_state()
    made, again = (catalogue.make("fisher").unlearn(task) for _ in range(2))
    assert (torch.get_rng_state() == state).all() and not made.training
    assert weights.digest(made) == weights.digest(again) != weights.digest(task.model) == before
    assert (made[0].weight == task.model[0].weight).all() and not made[0].weight.requires_grad
    assert (made[3].weight != task.model[3].weight).all() and (made[1].weight != task.model[1].weight).all()
    assert (made[1].running_mean == task.model[1].running_mean).all()
    other = catalogue.make("fisher").unlearn(untrained(task.oracle.recipe, seed=1))
    assert weights.digest(other) != weights.digest(made)
    tied = catalogue.make("fisher").unlearn(untrained(replace(RECIPE, build=Tied)))
    assert tied.first.weight is tied.second.weight


def test_without_time_it_rests_on_the_first_rows():
    task = untrained(LINEAR, count=300)
    task.start(0.0)
    x, y = task.retain.gather(np.arange(64))
    expected = fisher_squares(task.model, task.objective, x, y)["weight"] / 64
    torch.testing.assert_close(fisher_diagonal(task, Silent())["weight"], expected)


def test_passes_count_a_gradient_an_output():
    assert catalogue.make("fisher").passes(untrained()).singles == pytest.approx(FURTHER * 3 * (ROWS - FORGOTTEN))


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"floor": 0.0}])
def test_bad_hyperparameters_are_one_line(wrong):
    with pytest.raises(UsageError, match=r"^fisher takes strength >= 0 and floor > 0; "):
        catalogue.make("fisher", **wrong)
