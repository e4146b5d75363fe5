"""The demo's world: whose rows are whose, by the rule that is stated, and the team's five tests."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuralyzer.demo.acceptance import test_oracle as suite
from neuralyzer.demo.digits import CUSTOMERS, SUBJECT, SUBJECT_ROWS, customers, digits, recipe
from neuralyzer.models import training

SUITE = dict(inspect.getmembers(suite, lambda value: inspect.isfunction(value) and value.__name__.startswith("test_")))


@pytest.fixture(scope="module")
def rows():
    return digits()


def test_real_digits_in_two_parts(rows):
    train, holdout = rows
    assert (len(train), len(holdout)) == (1437, 360)
    assert train.x.shape == (1437, 64) and 0 <= float(train.x.min()) and float(train.x.max()) == 1
    assert not set(train.ids) & set(holdout.ids) and len(set(train.ids) | set(holdout.ids)) == 1797
    assert set(train.y.tolist()) == set(range(10))


def test_thirty_customers_of_uneven_sizes(rows):
    names, sizes = np.unique(rows[0].subjects, return_counts=True)
    assert len(names) == CUSTOMERS == 30 and SUBJECT in names
    own = int(sizes[names == SUBJECT][0])
    assert own == SUBJECT_ROWS and own / 1437 == pytest.approx(0.05, abs=0.001)
    others = sizes[names != SUBJECT]
    assert others.min() >= 6 and others.max() > 2 * others.min()


def test_half_of_the_subjects_rows_are_the_most_unusual_of_all(rows):
    train = rows[0]
    x, y = train.x.numpy(), train.y.numpy()
    distance = [np.linalg.norm(x[row] - x[y == y[row]].mean(0)) for row in range(len(y))]
    oddest = np.argsort(distance)[-SUBJECT_ROWS // 2 :]
    assert set(train.subjects[oddest]) == {SUBJECT}
    rest = np.setdiff1d(np.flatnonzero(train.subjects == SUBJECT), oddest)
    assert len(rest) == SUBJECT_ROWS // 2
    assert np.median(np.array(distance)[rest]) < np.median(np.array(distance)[oddest]) - 0.3, "the other half is drawn"


def test_the_assignment_is_the_seeds(rows):
    again = digits()
    assert again[0].digest == rows[0].digest and again[1].digest == rows[1].digest
    other = digits(1)[0]
    assert other.digest != rows[0].digest
    x, y = rows[0].x.numpy(), rows[0].y.numpy()
    assert (customers(x, y, 0) == customers(x, y, 0)).all() and (customers(x, y, 0) != customers(x, y, 1)).any()


def test_the_recipe_is_the_seeds():
    assert recipe().digest == recipe(3).digest, "a seed is no other recipe"
    assert recipe(3).seed == 3
    first, second = recipe(3).module(), recipe(4).module()
    assert not torch.equal(first[0].weight, second[0].weight)


def passed(model, holdout):
    with torch.no_grad():
        given = {"model": model, "holdout": holdout, "logits": model(holdout.x)}
    found = set()
    for name, test in SUITE.items():
        try:
            test(**{argument: given[argument] for argument in inspect.signature(test).parameters})
        except AssertionError:
            continue
        found.add(name)
    return found


def test_the_teams_five_tests_pass_on_a_trained_model(rows):
    model = training.train(replace(recipe(), epochs=40, batch_size=32), rows[0])
    assert len(SUITE) == 5
    assert passed(model, rows[1]) == set(SUITE)


def test_and_fail_on_models_that_are_not(rows):
    untrained = recipe().module().eval()
    assert not passed(untrained, rows[1]) & {
        "test_accuracy_is_at_least_96_percent", "test_no_digit_is_read_worse_than_85_percent",
    }  # fmt: skip
    broken = recipe().module().eval()
    broken[0].weight.data[0, 0] = float("nan")
    assert passed(broken, rows[1]) <= {"test_faint_noise_changes_few_answers"}, "NaN answers alike, noise or not"
    shouting = recipe().module().eval()
    shouting[4].bias.data[0] += 50
    assert "test_a_blank_image_gets_no_certain_answer" not in passed(shouting, rows[1])
    jumpy = recipe().module().eval()
    jumpy[0].weight.data *= 1000 * torch.randn(jumpy[0].weight.shape, generator=torch.Generator().manual_seed(0))
    assert "test_faint_noise_changes_few_answers" not in passed(jumpy, rows[1])
