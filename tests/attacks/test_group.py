import numpy as np
import pytest

from neuralyzer.attacks.group import ENOUGH, SMALLEST_DEVIATION, Group


@pytest.fixture
def readings():
    generator = np.random.default_rng(3)
    return generator.normal(2, 3, (9, 5)), generator.uniform(size=(9, 5)) < 0.6


def test_moments_are_numpys(readings):
    phi, belongs = readings
    group = Group.of(phi, belongs)
    for row in range(5):
        own = phi[belongs[:, row], row]
        assert group.count[row] == len(own)
        assert group.mean[row] == pytest.approx(own.mean())
        assert group.squares[row] == pytest.approx(np.var(own) * len(own))


def test_leaving_one_out_is_computing_anew(readings):
    phi, belongs = readings
    each = Group.of(phi, belongs).without_each(phi, belongs)
    for member in range(9):
        others = belongs.copy()
        others[member] = False
        anew = Group.of(phi, others)
        for name in ("count", "mean", "squares"):
            assert getattr(each, name)[member] == pytest.approx(getattr(anew, name))
        assert each.deviation()[member] == pytest.approx(anew.deviation())


def test_few_readings_share_one_deviation_and_many_have_their_own():
    generator = np.random.default_rng(4)
    phi = generator.normal(size=(ENOUGH, 6)) * np.arange(1, 7)
    everyone = np.ones_like(phi, dtype=bool)
    assert Group.of(phi, everyone).deviation() == pytest.approx(phi.std(0, ddof=1))
    fewer = Group.of(phi[1:], everyone[1:]).deviation()
    assert fewer == pytest.approx(np.full(6, np.sqrt(phi[1:].var(0, ddof=1).mean())))


def test_members_that_all_agree_do_not_divide_by_nothing():
    group = Group.of(np.ones((4, 3)), np.ones((4, 3), dtype=bool))
    assert (group.deviation() == SMALLEST_DEVIATION).all()
