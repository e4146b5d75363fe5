"""Whether a pool can answer a request of several subjects: not where they stand in for each other.

Members without A still hold B and C; if these resemble A's rows, such members know A's rows better than a model that
lacks all three would. Then members' scores on A fall as they lack more of B and C. Both kinds of members tell: those
that never saw A by their null scores, those that did by their weighted excess over one another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Flags, Floats, Part
from neuralyzer.trace.table import Null, Table

STEEPEST = -2.0  # slope z above which subjects never count as standing in for each other
ODDEST = 0.05  # share of random sets of as many subjects that may look as much alike
SETS = 200
# Slopes of true siblings (one cluster of digits split into three), by seed 3; what a screen must be able to see.
SIBLINGS = (-3.0, -1.3)
LEAST = 2.5  # slope z that siblings like those must be expected to show, or nothing can be said
CANNOT_TELL = "the references cannot tell whether the requested subjects stand in for each other"
ALIKE = "the requested subjects stand in for each other: members without one still know it from the others"


@dataclass(frozen=True)
class Profile:
    """How members stand to a part: centred scores ``(M,)`` of those that never saw it and of those that did, else 0."""

    never: Floats
    seen: Floats


def obstacle(tables: Mapping[str, Table], signals: Sequence[str], parts: Sequence[Part]) -> str | None:
    """Why the pool cannot answer; None where it can.

    Args:
        tables: by signal, of the tuning half.
        signals: that the request has.
        parts: what the request asks for, by subject.

    Returns:
        A sentence, or None. Scores are averaged over the signals, each weighing as finely as it sees, and regressed on
        the share of the other requested subjects that a member lacks, the slope pooled over the request. It is held
        against that of random sets of as many subjects, since one member's scores on several subjects go together.
    """
    if len(parts) < 2:
        return None
    keep = tables[signals[0]].half.keep
    nulls = {signal: tables[signal].parts_null(parts) for signal in signals}
    own = [_profile(tables, {s: nulls[s][place] for s in signals}, keep) for place in range(len(parts))]
    z, expected = slope(keep, [part.subject for part in parts], own)
    if expected < LEAST:
        return CANNOT_TELL
    if z < STEEPEST and z < _oddest(tables, signals, keep, len(parts)):
        return ALIKE
    return None


def _oddest(tables: Mapping[str, Table], signals: Sequence[str], keep: Flags, count: int) -> float:
    """The slope z that few random sets of ``count`` subjects fall below."""
    whole = sorted(set.intersection(*(set(tables[signal].nulls) for signal in signals)))
    if len(whole) <= count:
        return STEEPEST
    profiles = {s: _profile(tables, {k: tables[k].nulls[s] for k in signals}, keep) for s in whole}
    generator = np.random.default_rng(0)
    slopes = []
    for _ in range(SETS):
        chosen = generator.choice(whole, count, replace=False)
        slopes.append(slope(keep, list(chosen), [profiles[int(s)] for s in chosen])[0])
    return float(np.quantile(slopes, ODDEST))


def _profile(tables: Mapping[str, Table], nulls: Mapping[str, Null], keep: Flags) -> Profile:
    fine = np.array([tables[signal].fineness_of([null]) for signal, null in nulls.items()])
    never, seen = np.zeros(len(keep)), np.zeros(len(keep))
    for weight, (signal, null) in zip(fine / fine.sum(), nulls.items(), strict=True):
        z = tables[signal].null_z(null)
        never[null.members] += weight * (z - z.mean())
        excess = null.seen_scores
        seen[null.seen_members] += weight * (excess - excess.mean()) / excess.std(ddof=1)
    return Profile(never, seen)


def slope(keep: Flags, subjects: Sequence[int], profiles: Sequence[Profile]) -> tuple[float, float]:
    """The slope's z, and how far below 0 it would be expected for siblings."""
    lacks = ~keep[:, list(subjects)]
    others = (lacks.sum(1, keepdims=True) - lacks) / (len(subjects) - 1)
    z = expected = 0.0
    for group, y, effect in (
        (lacks, np.stack([p.never for p in profiles], 1), SIBLINGS[0]),
        (~lacks, np.stack([p.seen for p in profiles], 1), SIBLINGS[1]),
    ):
        x = np.where(group, others - (others * group).sum(0) / group.sum(0), 0.0)
        across, freedom = float((x * x).sum()), int(group.sum()) - len(subjects) - 1
        if across < 1e-9 or freedom < 1:
            continue
        steepness = float((x * y).sum()) / across
        error = float(np.sqrt(np.square(np.where(group, y - steepness * x, 0.0)).sum() / freedom / across))
        z += steepness / error / np.sqrt(2)
        expected -= effect / error / np.sqrt(2)
    return float(z), float(expected)
