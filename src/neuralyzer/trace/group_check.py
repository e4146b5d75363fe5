"""The self-check of requests of many subjects: groups of holdout rows, which nobody saw, must not alarm.

Half of the holdout, cut into groups of the request's size, plays the request; the other half stays holdout. Each member
plays the model under test and all others play those that never saw the rows. Rows weigh as training rows of such a
mean do.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from neuralyzer.references.readings import Floats, Indices
from neuralyzer.trace.group import FOLDS, GroupTable
from neuralyzer.trace.moments import floored
from neuralyzer.trace.prediction import Holdout


def scores_on(table: GroupTable, groups: Sequence[Indices]) -> Floats:
    """Each member's score on each group of holdout rows, in units of its noise, ``(M, groups)``.

    Args:
        table: one signal, whose subjects share one holdout.
        groups: positions in the holdout.

    Returns:
        The scores.
    """
    phi = table.readings.holdout
    played = np.concatenate(list(groups))
    outside = np.delete(phi, played, 1)
    holdout = Holdout(outside.mean(0), floored(outside.std(0, ddof=1)))
    shift = holdout.shift(outside, (outside.sum(0) - outside) / (len(phi) - 1))
    mean, spread = phi[:, played].mean(0), np.maximum(phi[:, played].std(0, ddof=1), table.table.spread_floor)
    tilde = phi[:, played] - shift.on(mean, spread)
    slope, intercept = table.gap_line
    fold = np.arange(len(phi)) % FOLDS
    sums = np.stack([tilde[fold == own].sum(0) for own in range(FOLDS)])
    counts = np.bincount(fold, minlength=FOLDS).astype(float)[:, None]
    ends = np.cumsum([len(group) for group in groups])[:-1]
    found = []
    for member, own in enumerate(tilde):
        total, count = sums.copy(), counts.copy()
        total[fold[member]] -= own
        count[fold[member]] -= 1
        others = (total.sum(0) - total) / (count.sum() - count)
        gap = np.maximum(intercept * spread + slope * others, table.table.gap_floor)
        weight = gap / np.square(spread)
        score = (weight * (own - total / count)).sum(0)
        variance = np.square(spread) * (
            np.square(weight.sum(0) * shift.noise[member]) + (np.square(weight) / count).sum(0)
        )
        by_group = (np.split(values, ends) for values in (score, variance))
        found.append([s.sum() / np.sqrt(v.sum()) for s, v in zip(*by_group, strict=True)])
    return np.array(found)


def weighted_maximum(z: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The largest weighted ``|z|`` over signals, shaped like one of them."""
    return np.asarray(np.max([weights[name] * np.abs(own) for name, own in z.items()], axis=0))
