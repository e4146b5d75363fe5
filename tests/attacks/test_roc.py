"""ROC figures against scikit-learn; intervals against repeated draws of the same world."""

import itertools

import numpy as np
import pytest
from sklearn import metrics

from neuralyzer.attacks import roc as module
from neuralyzer.attacks.roc import Scores, curve, joined, roc


def drawn(seed, count, shift, decimals=None, models=8, subjects=10):
    generator = np.random.default_rng(seed)
    values = generator.normal(shift, 1, count)
    values = values if decimals is None else values.round(decimals)
    return Scores(values, generator.integers(0, models, count), generator.integers(0, subjects, count))


def found(members, others, **options):
    return roc(members, others, np.random.default_rng(0), **options)


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 1.0, 3.0])
def test_figures_are_scikit_learns(decimals, shift):
    members, others = drawn(1, 700, shift, decimals), drawn(2, 2300, 0.0, decimals)
    told = found(members, others, resamples=5)
    truth = np.repeat([1, 0], [700, 2300])
    values = np.concatenate([members.values, others.values])
    assert told.auc.value == pytest.approx(metrics.roc_auc_score(truth, values))
    false, true, _ = metrics.roc_curve(truth, values, drop_intermediate=False)
    for rate, estimate in told.tpr.items():
        assert estimate.value == pytest.approx(true[false <= rate + 1e-12].max())
    for at, value in told.curve:
        assert value == pytest.approx(true[np.isclose(false, at, atol=1e-5)].max(), abs=1e-5)


def test_weights_are_scikit_learns_sample_weights():
    """The figures of a resample are those of scores that count as often as they were drawn, also at fewer cuts."""
    members, others = drawn(3, 400, 0.8), drawn(4, 1500, 0.0)
    generator = np.random.default_rng(5)
    own, against = generator.integers(0, 4, 400), generator.integers(0, 4, 1500)
    want = metrics.roc_auc_score(
        np.repeat([1, 0], [400, 1500]),
        np.concatenate([members.values, others.values]),
        sample_weight=np.concatenate([own, against]),
    )
    for cuts, close in ((np.unique(others.values), 1e-9), (module._thinned_cuts(np.unique(others.values)), 1e-4)):
        slots = 2 * len(cuts) + 1
        counted = [
            np.bincount(module._slots(side.values, cuts), weights, slots)[:, None]
            for side, weights in ((members, own), (others, against))
        ]
        assert module._figures(*counted)[0, 0] == pytest.approx(want, abs=close)


def test_a_rate_that_so_few_negatives_cannot_resolve_is_not_told():
    members, others = drawn(1, 50, 1.0), drawn(2, 150, 0.0)
    told = found(members, others)
    assert told.tpr[0.01].value is not None
    assert told.tpr[0.001].value is told.tpr[0.001].low is told.tpr[0.001].high is None
    assert found(members, drawn(2, 99, 0.0)).tpr[0.01].value is None
    assert found(members, drawn(2, 1000, 0.0)).tpr[0.001].value is not None
    assert told.to_dict()["tpr"][1] == {"fpr": 0.001, "tpr": None, "low": None, "high": None}


def test_models_that_differ_make_the_interval_wide():
    """Scores of one model rise and fall together: taken one by one, the interval would be far too narrow."""
    generator = np.random.default_rng(6)
    models = np.repeat(np.arange(12), 200)
    level = generator.normal(size=(2, 12))[:, models]
    values = level + 0.2 * generator.normal(size=(2, 2400))
    clustered = [Scores(values[k], models + 12 * k, np.arange(2400)) for k in (0, 1)]
    free = [Scores(side.values, np.arange(2400) + 2400 * k, np.arange(2400)) for k, side in enumerate(clustered)]
    wide, narrow = (found(*sides).auc for sides in (clustered, free))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.slow
def test_intervals_cover():
    """Of worlds drawn anew, 95 % of the intervals hold the true area; models and subjects have levels of their own."""
    held = []
    for seed in range(150):
        generator = np.random.default_rng(seed)
        models, subjects = np.divmod(np.arange(30 * 30), 30)
        saw = generator.uniform(size=900) < 0.5
        values = 0.3 * generator.normal(size=30)[models] + 0.3 * generator.normal(size=30)[subjects]
        values = values + generator.normal(size=900) + saw
        sides = [Scores(values[own], models[own], subjects[own]) for own in (saw, ~saw)]
        auc = roc(*sides, np.random.default_rng(seed)).auc
        held.append(auc.low <= 0.7446 <= auc.high)  # Phi(1 / sqrt(2 (1 + .09 + .09)))
    assert 0.88 <= np.mean(held) <= 1.0


def test_the_given_model_is_not_resampled():
    members = Scores(np.array([2.0]), np.array([-1]), np.array([0]))
    others = Scores(np.arange(4.0), np.arange(4), np.zeros(4, dtype=int))
    told = found(members, others)
    assert told.auc.value == (2 + 0.5) / 4 and 0 <= told.auc.low < told.auc.value < told.auc.high <= 1


def test_the_same_seed_gives_the_same_intervals():
    members, others = drawn(1, 300, 1.0), drawn(2, 300, 0.0)
    assert found(members, others) == found(members, others)


def test_a_curve_is_thinned_but_keeps_its_ends():
    members, others = drawn(1, 5000, 1.0).values, drawn(2, 5000, 0.0).values
    points = curve(members, others)
    assert len(points) <= module.POINTS + 1 and points[0][0] == 0.0 and points[-1] == (1.0, 1.0)
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(points))


def test_sides_can_be_joined():
    both = joined([drawn(1, 3, 0.0), drawn(2, 4, 0.0)])
    assert len(both.values) == len(both.models) == len(both.subjects) == 7
