"""The empirical-Bayes scale, against a root found by SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from neuralyzer.trace.scale import prior


def drawn(freedom, subjects=300, own=5.0, seed=0):
    """Variances of subjects whose true ones follow a scaled inverse chi-square around a trend."""
    generator = np.random.default_rng(seed)
    seen = np.exp(generator.normal(size=subjects))
    true = np.exp(0.3 + 0.7 * np.log(seen))
    if np.isfinite(freedom):
        true = true * freedom / generator.chisquare(freedom, subjects)
    return true * generator.chisquare(own, subjects) / own, np.full(subjects, own), seen


def excess(variance, freedom, seen):
    """Right side of limma's equation, with the trend by numpy."""
    e = np.log(variance) - digamma(freedom / 2) + np.log(freedom / 2)
    slope, intercept = np.polyfit(np.log(seen), e, 1)
    count = len(e)
    residual = e - intercept - slope * np.log(seen)
    return intercept, slope, np.mean(residual**2) * count / (count - 1) - polygamma(1, freedom / 2).mean()


@pytest.mark.parametrize("truth", [4.0, 10.0, 25.0])
def test_degrees_of_freedom_solve_the_equation(truth):
    given = drawn(truth)
    intercept, slope, right = excess(*given)
    want = brentq(lambda d0: polygamma(1, d0 / 2) - right, 1e-3, 1e4)
    got = prior(*given)
    assert 2 < want < 60 and got.freedom == pytest.approx(want, rel=1e-9)
    assert (got.intercept, got.slope) == pytest.approx((intercept, slope))
    assert truth / 2 < got.freedom < truth * 2
    prior_variance = np.exp(intercept + slope * np.log(given[2]) + digamma(want / 2) - np.log(want / 2))
    np.testing.assert_allclose(got.variance(given[2]), prior_variance)
    shrunk = (given[1] * given[0] + want * prior_variance) / (given[1] + want)
    np.testing.assert_allclose(got.shrink(*given), shrunk)


def test_degrees_of_freedom_stay_in_their_range():
    alike = drawn(np.inf)
    assert excess(*alike)[2] < polygamma(1, 30) and prior(*alike).freedom == 60
    odd = drawn(0.4)
    assert excess(*odd)[2] > polygamma(1, 1) and prior(*odd).freedom == 2


def test_shrinking_helps():
    """Shrunk variances lie nearer to the truth than the subjects' own."""
    variance, freedom, seen = drawn(np.inf)
    true = np.exp(0.3 + 0.7 * np.log(seen))
    shrunk = prior(variance, freedom, seen).shrink(variance, freedom, seen)
    off = [np.square(np.log(found / true)).mean() for found in (variance, shrunk)]
    assert off[1] < off[0] / 10


@pytest.mark.parametrize("subjects", [1, 2])
def test_few_subjects_have_no_trend(subjects):
    got = prior(np.array([1.0, 3.0])[:subjects], np.full(subjects, 5.0), np.array([1.0, 9.0])[:subjects])
    assert got.slope == 0 and 2 <= got.freedom <= 60


@pytest.mark.parametrize("zeros", [1, 20, 40])
def test_members_that_agree_on_a_subject_leave_every_number_finite(zeros):
    """A discrete signal: they all are right about a subject's rows, and differ by nothing."""
    variance, freedom, seen = drawn(10.0)
    usual = prior(variance, freedom, seen)
    assert usual.least == seen.min() and usual.variance(seen) == pytest.approx(replace(usual, least=0.0).variance(seen))
    variance[:zeros], seen[:zeros] = 0.0, 0.0
    got = prior(variance, freedom, seen)
    shrunk = got.shrink(variance, freedom, seen)
    assert (
        np.isfinite([got.intercept, got.slope, got.freedom]).all() and (shrunk > 0).all() and np.isfinite(shrunk).all()
    )
