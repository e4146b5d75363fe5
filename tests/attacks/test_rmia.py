"""RMIA against cases computed by hand."""

import numpy as np
import pytest

from neuralyzer.attacks import rmia


def test_a_case_by_hand():
    # p(x|theta)/p(x) = .9/.6 = 1.5 and .5/.5 = 1; p(z|theta)/p(z) = .4/.5, .6/.5, .9/.5, .5/.5 = .8, 1.2, 1.8, 1
    x, z = np.array([0.9 / 0.6, 1.0]), np.array([0.4, 0.6, 0.9, 0.5]) / 0.5
    # ratios of the first: 1.875, 1.25, .83, 1.5: three reach 1, one reaches 1.6, none 2
    assert rmia.scores(x, z).tolist() == [0.75, 0.5]
    assert rmia.scores(x, z, gamma=1.6).tolist() == [0.25, 0.0]
    assert rmia.scores(x, z, gamma=2.0).tolist() == [0.0, 0.0]


def test_evidence_by_hand():
    assert rmia.online_evidence(np.array([0.9]), np.array([0.5])) == pytest.approx([0.7])
    # p_in is taken to be .3 x .5 + .7 = .85, and (.85 + .5) / 2 = .675
    assert rmia.offline_evidence(np.array([0.5]), a=0.3) == pytest.approx([0.675])
    assert rmia.offline_evidence(np.array([0.5]), a=1.0) == pytest.approx([0.5])


def test_it_is_the_share_of_pairs():
    generator = np.random.default_rng(0)
    x, z = generator.uniform(0.5, 2, 40), generator.uniform(0.5, 2, 70)
    want = [sum(one / other >= 1.2 for other in z) / 70 for one in x]
    assert rmia.scores(x, z, gamma=1.2) == pytest.approx(want)
