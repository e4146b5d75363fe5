"""Exact references: a t statistic that holds its error rate, and answers what a pool cannot."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from neuralyzer.references.design import leave_out
from neuralyzer.references.measurement.evaluator import Reading
from neuralyzer.references.signal_values import Part, SignalValues, SplitValues
from neuralyzer.signals.signal import Family
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.exact import ExactEstimator
from tests.trace.world import gaussian

ALPHA, REFERENCES = 0.05, 8


class PlayedMeter:
    """A model is its own readings: by signal, those of each part."""

    def __init__(self, split, units=()):
        self.units = units
        self.signals = {
            name: SimpleNamespace(name=name, family=Family.RETRAINING, per_unit=name in units) for name in split.signals
        }

    def measures(self, signal, parts):
        return not signal.per_unit or all(len(part.rows) == 30 for part in parts)

    def read(self, model, parts, names=None):
        return model


def model(world, parts, trace, generator, signals=("own",), **given):
    made = {}
    for name in signals:
        rows, outside = zip(*(world.model(part.subject, trace, generator, **given) for part in parts), strict=True)
        own = world.values.signals[name].units is not None
        made[name] = Reading(list(rows), list(outside) if own else [outside[0]] * len(parts))
    return made


def estimator(split, parts, references, **given):
    return ExactEstimator(
        SimpleNamespace(values=split, evaluator=PlayedMeter(split, **given)), parts, references, ALPHA
    )


def setting(seed, subjects=(0,), signals=("own",), count=REFERENCES, **given):
    world, generator = gaussian(seed, signals=signals, **given), np.random.default_rng(1000 + seed)
    parts = [world.part(subject) for subject in subjects]
    references = [model(world, parts, 0, generator, signals) for _ in range(count)]
    return world, parts, references, estimator(world.values, parts, references), generator


# Against a calculation by hand


def by_hand(rows, outside, references, pool, holdout):
    """Score, t, p and trace from the formulas of the estimate, in plain NumPy, one subject all of whose rows count.

    ``references`` are (rows, outside) pairs; ``pool`` and ``holdout`` what members that held the subject read.
    """
    phi, beyond = (np.stack(part) for part in zip(*references, strict=True))
    everybody = np.vstack([beyond, holdout])
    m, s = everybody.mean(0), everybody.std(0, ddof=1)
    assert s.min() > np.median(s) / 4

    def fit(reading, never):
        y, x = (reading - never) / s, m / s
        found = stats.linregress(x, y)
        left = np.clip(y - found.intercept - found.slope * x, -4, 4)
        return found.intercept, found.slope, np.sqrt(np.mean(left**2))

    def scored(reading, reading_outside, kept, floors=None):
        mu, nu, n, k = phi[kept].mean(0), pool.mean(0), len(kept), len(pool)
        within = ((phi[kept] - mu) ** 2).sum(0) + ((pool - nu) ** 2).sum(0)
        sigma = np.sqrt(within / (n + k - 2))
        spread_floor, gap_floor = floors or (np.median(sigma) / 4, 0.05 * np.abs(nu - mu).mean())
        sigma = np.maximum(sigma, spread_floor)
        never = beyond[kept].mean(0)
        a, b, _ = fit(holdout.mean(0), never)
        delta = nu - mu - (a * sigma + b * mu)
        d, above = np.maximum(delta, gap_floor) / sigma, (delta > gap_floor).sum()
        c0, c1, g = fit(reading_outside, never)
        excess = (d / sigma) @ (reading - mu - c0 * sigma - c1 * mu) - above / n
        unit = max(d @ (delta / sigma) - above * (1 / n + 1 / k), 0.3 * d @ d)
        return excess, g, np.sqrt(d @ d), unit, (spread_floor, gap_floor)

    n = len(phi)
    everyone = np.arange(n)
    excess, g, norm, unit, floors = scored(rows, outside, everyone)
    own = []
    for left in everyone:
        value, its_g, its_norm, _, _ = scored(phi[left], beyond[left], np.delete(everyone, left), floors)
        own.append(value / (its_g * its_norm))
    own = np.array(own) * g * norm
    # A score is n / (n - 1) times the distance from the mean over all, in a unit that is sqrt(n / (n - 1)) too large.
    se = own.std(ddof=1) * np.sqrt((n - 1) / n)
    t = (excess - own.mean()) / se
    return ((excess - own.mean()) / unit, se / unit, t, 2 * stats.t.sf(abs(t), n - 1)), own / (g * norm)


def odd(score, others):
    """Whether a new observation lies outside the prediction interval that ``others`` give."""
    error = others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
    low, high = stats.t.interval(1 - ALPHA, len(others) - 1, others.mean(), error)
    return not low < score < high


@pytest.mark.parametrize("trace", [0.0, 0.4, 1.0])
def test_one_subject_by_hand(trace):
    world, (part,), references, own, generator = setting(3)
    tested = model(world, [part], trace, generator, noise=1.1, c0=0.2, c1=0.1)
    saw = world.values.keep[:, part.subject]
    readings = world.values.signals["own"]
    # Members that left the subject out tell nothing of the gap, but their holdout does of spreads.
    pool, holdout = readings.rows[saw][:, part.rows], readings.holdout
    want, scores = by_hand(
        tested["own"].rows[0], tested["own"].holdout[0],
        [(r["own"].rows[0], r["own"].holdout[0]) for r in references], pool, holdout,
    )  # fmt: skip
    estimates = own.read(tested)
    found = estimates.traces["own"]
    assert (found.trace, found.se, found.z, found.p_value) == pytest.approx(want, rel=1e-6)
    reach = stats.t.ppf(0.975, REFERENCES - 1) * want[1]
    assert (found.low, found.high) == pytest.approx((want[0] - reach, want[0] + reach))
    assert estimates.joint.p_value == pytest.approx(want[3]) and estimates.rejects == (want[3] <= ALPHA)
    check = own.self_check([], [])
    assert check.groups == REFERENCES and check.alarms == sum(
        odd(s, np.delete(scores, k)) for k, s in enumerate(scores)
    )
    assert found.detectable > reach, "what is found with 95 % power is more than the interval's half"


# Error rate and power


def test_false_alarms_are_as_many_as_is_allowed():
    """Fresh worlds, references and models each time; close to alpha, above it by no more than chance."""
    tests, alarms, checks = 250, 0, np.zeros(2, dtype=int)
    for seed in range(tests):
        world, parts, _, own, generator = setting(seed, size=12, subjects=(0,))
        alarms += own.read(model(world, parts, 0, generator, noise=1.2, c0=0.3)).rejects
        check = own.self_check([], [])
        checks += check.alarms, check.groups
    assert stats.binom.sf(alarms - 1, tests, ALPHA) > 0.01, alarms
    assert stats.binom.cdf(alarms, tests, ALPHA) > 0.01, alarms
    # Judges of one another are not independent tests: eight at a time count as one.
    assert checks[0] / checks[1] == pytest.approx(ALPHA, abs=3 * np.sqrt(ALPHA * 0.95 / tests))


def test_a_model_that_holds_the_whole_gap_reads_one_and_is_found():
    traces, detectable, found = [], [], []
    for seed in range(40):
        world, parts, _, own, generator = setting(seed)
        estimates = own.read(model(world, parts, 1, generator))
        traces.append(estimates.traces["own"].trace)
        detectable.append(estimates.traces["own"].detectable)
        found.append(estimates.rejects)
    error = np.std(traces) / np.sqrt(len(traces))
    assert np.mean(traces) == pytest.approx(1, abs=3 * error + 0.05) and np.mean(found) > 0.9
    assert np.median(detectable) < 1


def test_more_references_see_finer():
    few, many = (np.median([setting(s, count=n)[3].read(setting(s)[2][0]).traces["own"].detectable for s in range(10)])
                 for n in (6, 24))  # fmt: skip
    assert many < few


# Requests


def test_several_parts_add():
    """The trace of two subjects is their traces weighed by what each is worth; a half of the gap reads a half."""
    found = []
    for seed in range(30):
        world, parts, references, own, generator = setting(seed, subjects=(0, 1, 5))
        tested = model(world, parts, 0.5, generator)
        found.append(own.read(tested).traces["own"].trace)
        if seed == 0:
            alone = [
                estimator(world.values, [part], [{"own": Reading([r["own"].rows[k]], [r["own"].holdout[k]])} for r in references])
                .read({"own": Reading([tested["own"].rows[k]], [tested["own"].holdout[k]])}).traces["own"].trace
                for k, part in enumerate(parts)
            ]  # fmt: skip
            assert min(alone) < found[0] < max(alone)
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_a_signal_with_a_holdout_of_its_own_for_each_unit():
    """Each part is held against its own holdout: units whose readings lie apart are not mixed up."""
    world = gaussian(4)
    plain = world.values.signals["own"]
    lift = 5.0 * np.arange(len(world.values.positions))
    rows = plain.rows + lift[np.repeat(np.arange(len(lift)), 30)]
    outside = plain.holdout[:, None, :] + lift[None, :, None]
    units = {subject: subject for subject in range(len(lift))}
    split = SplitValues(world.values.keep, world.values.positions, {"own": SignalValues(rows, outside, units)})
    parts, generator = [world.part(0), world.part(3)], np.random.default_rng(4)

    def lifted(trace):
        own = model(world, parts, trace, generator)["own"]
        return {"own": Reading([r + lift[p.subject] for r, p in zip(own.rows, parts, strict=True)],
                               [o + lift[p.subject] for o, p in zip(own.holdout, parts, strict=True)])}  # fmt: skip

    own = estimator(split, parts, [lifted(0) for _ in range(REFERENCES)], units=("own",))
    assert own.signals == ["own"]
    blank, whole = own.read(lifted(0)), own.read(lifted(1))
    assert not blank.rejects and whole.rejects
    assert whole.traces["own"].trace == pytest.approx(1, abs=0.35)
    assert blank.traces["own"].trace == pytest.approx(0, abs=0.35)


def test_bonferroni_over_the_signals_that_count():
    signals = ("own", "other")
    world, parts, _, own, generator = setting(2, signals=signals)
    tested = model(world, parts, 0.6, generator, signals)
    estimates = own.read(tested)
    assert estimates.joint.signals == signals
    assert estimates.joint.p_value == pytest.approx(min(1, 2 * min(t.p_value for t in estimates.traces.values())))
    assert estimates.joint.rejects == (estimates.joint.statistic >= estimates.joint.critical)
    one = own.read(tested, counts=["other"])
    assert one.joint.p_value == one.traces["other"].p_value and set(one.traces) == set(signals)
    assert own.read(tested, counts=[]).joint == estimates.joint


def test_rows_that_members_lacked_through_their_own_subject():
    """A class: a member that kept it may lack some of its rows; these tell nothing of the gap."""
    world, parts, references, _, generator = setting(5)
    saw = world.values.keep[:, np.repeat(np.arange(24), 30)].copy()
    rows = world.values.signals["own"].rows.copy()
    lost = np.random.default_rng(0).random(rows.shape) < 0.3
    rows[lost & saw] = 1e3  # nonsense, which must not be read
    own = estimator(
        SplitValues(world.values.keep, world.values.positions, {"own": SignalValues(rows, world.values.signals["own"].holdout)},
             saw & ~lost), parts, references,
    )  # fmt: skip
    assert own.read(model(world, parts, 1, generator)).traces["own"].trace == pytest.approx(1, abs=0.35)


# What the pool cannot answer


def siblings(seed):
    """Subjects 0, 1, 2 are known to a member as far as it holds any of the three."""
    generator = np.random.default_rng(seed)
    subjects, size, members = 12, 16, 64
    keep = leave_out(members, np.full(subjects, size), 0.25, seed)
    known = keep.astype(float)
    known[:, :3] = keep[:, :3].mean(1, keepdims=True)
    rows = 2 + 1.5 * known[:, np.repeat(np.arange(subjects), size)] + generator.normal(size=(members, subjects * size))
    positions = list(np.arange(subjects * size).reshape(subjects, size))
    split = SplitValues(keep, positions, {"own": SignalValues(rows, 2 + generator.normal(size=(members, 200)))})
    return split, [Part(subject, positions[subject]) for subject in range(3)], generator


def test_subjects_that_stand_in_for_each_other():
    """A model without all three reads as forgetting too much to the pool; exact references know better."""
    by_pool, by_exact, found = 0, 0, 0
    for seed in range(20):
        split, parts, generator = siblings(seed)

        def trained(level, parts=parts, generator=generator):
            outside = 2 + generator.normal(size=200)
            return {"own": Reading([2 + level + generator.normal(size=16) for _ in parts], [outside] * 3)}

        exact = estimator(split, parts, [trained(0) for _ in range(REFERENCES)])
        pool = TraceEstimator(exact.split, parts, ALPHA)
        clean = trained(0)
        by_pool, by_exact = by_pool + pool.read(clean).rejects, by_exact + exact.read(clean).rejects
        found += exact.read(trained(1.5)).rejects
    assert by_pool >= 10 and by_exact <= 3 and found == 20


def test_a_part_that_hardly_a_member_held_has_no_signal():
    world, parts, references, _, _ = setting(6)
    keep = world.values.keep.copy()
    keep[1:, 0] = False  # one member saw it: no spread among those that did
    own = estimator(SplitValues(keep, world.values.positions, world.values.signals), parts, references)
    assert own.signals == [] and own.read(references[0]).joint is None
