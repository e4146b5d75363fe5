"""A function's answers as a module's outputs: what is read of them, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.errors import NotFiniteError, UsageError
from neuralyzer.models.black_box import BlackBox
from tests.references import world


@pytest.fixture(scope="module")
def oracle():
    return world.oracle()


def proba(model):
    return lambda x: model(x).softmax(1)


def test_margins_are_those_of_the_model(oracle):
    box = BlackBox.of(proba(oracle.model), oracle)
    x, y = oracle.data.x, oracle.data.y
    objective = oracle.recipe.objective
    want = objective.margin(oracle.model(x), y)
    torch.testing.assert_close(objective.margin(objective.outputs(box, x), y), want, atol=1e-3, rtol=1e-3)
    assert not list(box.parameters())


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list], ids=["array", "tensor", "list"])
def test_any_kind_of_answer_will_do(oracle, kind):
    def predict(x):
        return kind(oracle.model(x).softmax(1).detach().tolist())

    x = oracle.data.x[:9]
    torch.testing.assert_close(BlackBox.of(predict, oracle)(x).exp(), oracle.model(x).softmax(1), atol=1e-6, rtol=1e-5)


def test_zeros_of_rounded_answers_stand_for_half_of_the_last_digit(oracle):
    def rounded(x):
        return (1000 * (40 * oracle.model(x)).softmax(1)).round() / 1000

    box = BlackBox.of(rounded, oracle)
    assert box.smallest == pytest.approx(0.0005, rel=1e-3)
    assert float(box(oracle.data.x).min()) >= np.log(0.0005) - 1e-5


def test_answers_that_are_not_rounded_are_read_as_they_are(oracle):
    assert BlackBox.of(proba(oracle.model), oracle).smallest == 1e-12


def test_a_single_logit_is_held_against_two_probabilities():
    x = np.random.default_rng(0).normal(size=(500, 5)).astype("float32")
    recipe = nz.Recipe(lambda: nn.Linear(5, 1), epochs=2)
    oracle = nz.TrainedModel.fit(
        recipe, nz.Data.from_arrays(x[:250], x[:250, 0] > 0), nz.Data.from_arrays(x[250:], x[250:, 0] > 0)
    )

    def predict(rows):
        one = oracle.model(rows).sigmoid()
        return torch.cat([1 - one, one], 1)

    box, objective = BlackBox.of(predict, oracle), recipe.objective
    rows, y = oracle.data.x, oracle.data.y
    want = objective.margin(objective.outputs(oracle.model, rows), y)
    torch.testing.assert_close(objective.margin(box(rows), y), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("flat", [True, False])
def test_predictions_of_a_regression(flat):
    oracle = world.oracle(world.REGRESSION, real=True)
    box = BlackBox.of(lambda x: oracle.model(x).reshape(-1) if flat else oracle.model(x), oracle)
    x = oracle.data.x
    torch.testing.assert_close(oracle.recipe.objective.outputs(box, x), oracle.model(x))


def fails(x):
    raise ValueError("no route to host\nTraceback")


class TimedOut(Exception):
    """As the client of an API has its own."""


def too_late(x):
    raise TimedOut("after 30 s")


@pytest.mark.parametrize(
    ("predict", "says"),
    [
        (lambda x: torch.full((len(x), 2), 0.5), r"shape \(210, 2\) for 210 rows; it must give \(210, 3\)"),
        (lambda x: torch.full((1, 3), 1 / 3), r"shape \(1, 3\) for 210 rows"),
        (lambda x: torch.full((len(x),), 0.5), r"shape \(210,\)"),
        (lambda x: torch.full((len(x), 3), 1.0), "one sums to 3 .*are these logits"),
        (lambda x: torch.tensor([[1.5, -0.5, 0.0]]).expand(len(x), 3), "the smallest is -0.5"),
        (fails, "predict failed on 210 rows: ValueError: no route to host$"),
        (too_late, "predict failed on 210 rows: TimedOut: after 30 s$"),
        (lambda x: "nothing", "predict failed"),
        (lambda x: None, "predict failed"),
    ],
)
def test_what_is_refused_in_one_line(oracle, predict, says):
    with pytest.raises(UsageError, match=says) as caught:
        BlackBox.of(predict, oracle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers(oracle, value):
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        BlackBox.of(lambda x: torch.full((len(x), 3), value), oracle)
