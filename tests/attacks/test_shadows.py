"""Every attack's scores against plain loops over members and rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from neuralyzer.attacks.shadows import Shadows
from neuralyzer.references.signal_values import SignalValues, SplitValues
from tests.trace.world import gaussian


@pytest.fixture(scope="module")
def world():
    return gaussian(0, members=32, subjects=6, size=5, holdout=40, signals=("margin",))


def by_hand(phi, held, target, reading):
    """LiRA of one target with one global variance a side, and p_in and p_out, the target left out where it is one."""
    others = [m for m in range(len(phi)) if m != target]
    sides = {}
    for side in (True, False):
        own = [np.array([phi[m, i] for m in others if held[m, i] == side]) for i in range(phi.shape[1])]
        variance = sum(((v - v.mean()) ** 2).sum() for v in own) / sum(len(v) - 1 for v in own)
        chances = np.array([special.expit(v).mean() for v in own])
        sides[side] = np.array([v.mean() for v in own]), np.sqrt(variance), chances
    (mu_in, s_in, p_in), (mu_out, s_out, p_out) = sides[True], sides[False]
    online = stats.norm.logpdf(reading, mu_in, s_in) - stats.norm.logpdf(reading, mu_out, s_out)
    return online, -stats.norm.logsf(reading, mu_out, s_out), p_in, p_out


def rmia_by_hand(reading, beyond, p_in, p_out, outside, online):
    p_x = (p_in + p_out) / 2 if online else (1.3 * p_out + 0.7) / 2
    p_z = outside if online else (1.3 * outside + 0.7) / 2
    x, z = special.expit(reading) / p_x, special.expit(beyond) / p_z
    return np.array([np.mean([one / other >= 1 for other in z]) for one in x])


def test_each_member_is_left_out_of_its_own_statistics(world):
    shadows = Shadows.of(world.values, np.arange(30), classes=True)
    found, held = shadows.of_members(), world.values.rows_held_by
    for target in (0, 7, 31):
        reading, beyond = shadows.phi[target], shadows.holdout[target]
        online, offline, p_in, p_out = by_hand(shadows.phi, held, target, reading)
        assert found["lira-online"][target] == pytest.approx(online)
        assert found["lira-offline"][target] == pytest.approx(offline)
        outside = special.expit(np.delete(shadows.holdout, target, axis=0)).mean(0)
        for mode in ("online", "offline"):
            want = rmia_by_hand(reading, beyond, p_in, p_out, outside, mode == "online")
            assert found[f"rmia-{mode}"][target] == pytest.approx(want)


def test_a_model_that_is_no_member(world):
    shadows = Shadows.of(world.values, np.arange(10), classes=True)
    generator = np.random.default_rng(1)
    reading, beyond = generator.normal(2, 1, 10), generator.normal(2, 1, 40)
    found = shadows.of_model(reading, beyond)
    online, offline, p_in, p_out = by_hand(shadows.phi, shadows.held, None, reading)
    assert found["lira-online"] == pytest.approx(online) and found["lira-offline"] == pytest.approx(offline)
    outside = special.expit(shadows.holdout).mean(0)
    for mode in ("online", "offline"):
        want = rmia_by_hand(reading, beyond, p_in, p_out, outside, mode == "online")
        assert found[f"rmia-{mode}"] == pytest.approx(want)


def test_real_targets_have_no_probabilities(world):
    shadows = Shadows.of(world.values, np.arange(10), classes=False)
    assert set(shadows.of_members()) == set(shadows.of_model(shadows.phi[0], shadows.holdout[0])) == {
        "lira-online", "lira-offline",
    }  # fmt: skip


def test_rows_that_cannot_be_attacked_are_left_away(world):
    split = world.values
    rows = split.signals["margin"].rows.copy()
    rows[:, 3] = np.nan  # erased
    held = split.rows_held_by.copy()
    held[:, 8] = True  # lacked by nobody
    told = replace(split, held=held, signals={"margin": SignalValues(rows, split.signals["margin"].holdout)})
    shadows = Shadows.of(told, np.arange(10), classes=True)
    assert shadows.rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 9]
    assert all(np.isfinite(scores).all() for scores in shadows.of_members().values())


def test_who_held_a_row_follows_from_its_subject(world):
    assert isinstance(world.values, SplitValues) and world.values.held is None
    held = world.values.rows_held_by
    for subject, own in enumerate(world.values.positions):
        assert (held[:, own] == world.values.keep[:, [subject]]).all()
