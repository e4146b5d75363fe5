"""LiRA against SciPy's normal distribution."""

import numpy as np
import pytest
from scipy import stats

from neuralyzer.attacks import lira
from neuralyzer.attacks.group import Group


def group(mean, deviation):
    """A group with these means and one pooled deviation."""
    count = np.full(len(mean), 5.0)
    return Group(count, np.asarray(mean, float), (count - 1) * deviation**2)


SEEN, NEVER = group([3.0, 5.0, -1.0], 0.8), group([1.0, 4.5, 2.0], 1.3)
PHI = np.array([2.2, 9.0, -3.0])


def test_online_is_the_log_likelihood_ratio():
    want = stats.norm.logpdf(PHI, SEEN.mean, 0.8) - stats.norm.logpdf(PHI, NEVER.mean, 1.3)
    assert lira.online(PHI, SEEN, NEVER) == pytest.approx(want)


def test_offline_is_the_tail_under_models_that_never_held_the_row():
    want = -stats.norm.logsf(PHI, NEVER.mean, 1.3)
    assert lira.offline(PHI, NEVER) == pytest.approx(want)
    # as the paper's 1 - Pr[Z > phi] orders them
    assert (np.argsort(lira.offline(PHI, NEVER)) == np.argsort(stats.norm.cdf(PHI, NEVER.mean, 1.3))).all()


def test_rows_far_out_stay_finite_and_apart():
    far = np.array([60.0, 80.0, 100.0])
    scores = lira.offline(far, group([0.0, 0.0, 0.0], 1.0))
    assert np.isfinite(scores).all() and (np.diff(scores) > 0).all()
