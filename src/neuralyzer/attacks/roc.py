"""How well scores tell members from non-members: ROC curve, AUC, TPR at low FPR, with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from neuralyzer.references.signal_values import Floats, Indices

RATES = (0.01, 0.001)  # false positive rates at which true positive rates are told
RESAMPLES = 200
LEVEL = 0.95
CUTS = 1000  # at which resamples are counted
POINTS = 50  # of a curve that is written down


@dataclass(frozen=True)
class Scores:
    """Scores of one kind, members' or non-members', with what they depend on.

    Attributes:
        values: ``(n,)``; higher: more likely a member.
        models: which model each is of, ``(n,)``; -1 for one that is given, not drawn.
        subjects: which row or subject each belongs to, ``(n,)``; scores of one are resampled together.
    """

    values: Floats
    models: Indices
    subjects: Indices


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; all None where it cannot be told."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic.

    Attributes:
        positives: how many scores of members.
        negatives: how many of non-members.
        auc: area under the curve, ties counted half.
        tpr: largest true positive rate at a false positive rate of at most each of ``RATES``; None at a rate that so
            few negatives cannot resolve (fewer than ``1 / rate``).
        curve: points ``(fpr, tpr)``, rising.
    """

    positives: int
    negatives: int
    auc: Estimate
    tpr: dict[float, Estimate]
    curve: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values; the curve apart."""
        return {
            "positives": self.positives, "negatives": self.negatives,
            "auc": self.auc.value, "auc_low": self.auc.low, "auc_high": self.auc.high,
            "tpr": [
                {"fpr": rate, "tpr": found.value, "low": found.low, "high": found.high}
                for rate, found in self.tpr.items()
            ],
        }  # fmt: skip


def roc(members: Scores, others: Scores, generator: np.random.Generator, resamples: int = RESAMPLES) -> Roc:
    """Find how well scores tell members from non-members.

    Models and subjects are resampled, not scores: all scores of a model rise and fall together, and so do those of a
    row. A score's weight is the product of how often its model and its subject were drawn (the pigeonhole bootstrap:
    Owen 2007, arXiv 0712.1111); intervals are percentiles.

    Args:
        members: scores of rows under models that held them.
        others: scores of rows under models that did not.
        generator: of the resamples.
        resamples: how many.

    Returns:
        The curve and its figures.
    """
    cuts = np.unique(others.values)
    whole = _figures(*(
        np.bincount(_slots(side.values, cuts), minlength=2 * len(cuts) + 1)[:, None].astype(float)
        for side in (members, others)
    ))  # fmt: skip
    drawn = _resampled(members, others, generator, resamples)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1) if drawn.size else np.full((2, 3), None)
    told = [True, *(len(others.values) * rate >= 1 - 1e-9 for rate in RATES)]
    found = [
        Estimate(float(value), *(None if end is None else float(end) for end in (below, above)))
        if able
        else Estimate(None, None, None)
        for able, value, below, above in zip(told, whole[:, 0], low, high, strict=True)
    ]
    return Roc(
        len(members.values), len(others.values), found[0], dict(zip(RATES, found[1:], strict=True)),
        curve(members.values, others.values),
    )  # fmt: skip


def curve(members: Floats, others: Floats, points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """The ROC curve, thinned evenly on a logarithmic axis of false positive rates.

    Args:
        members: scores of members.
        others: scores of non-members.
        points: about how many to keep.

    Returns:
        Corners ``(fpr, tpr)`` from the first that some score reaches to ``(1, 1)``: the true positive rate stays as it
        is up to the next false positive rate.
    """
    members, others = np.sort(members), np.sort(others)
    cuts = np.unique(others)
    # Rates of the rule "above the cut": ties stand and fall together.
    false = 1 - np.searchsorted(others, cuts, side="right") / len(others)
    true = 1 - np.searchsorted(members, cuts, side="right") / len(members)
    false, true = np.append(false[::-1], 1.0), np.append(true[::-1], 1.0)
    wanted = np.geomspace(1 / len(others), 1, points)
    kept = np.unique(np.concatenate([[0], np.searchsorted(false, wanted, side="right") - 1]))
    return tuple((round(float(false[place]), 6), round(float(true[place]), 6)) for place in kept)


def _resampled(members: Scores, others: Scores, generator: np.random.Generator, resamples: int) -> Floats:
    """Figures of resamples, ``(3, B)``; a resample that has lost a whole side is left away."""
    cuts = _few(np.unique(others.values))
    split = len(members.values)
    models, times = _drawn(np.concatenate([members.models, others.models]), generator, resamples)
    subjects, also = _drawn(np.concatenate([members.subjects, others.subjects]), generator, resamples)
    sides = []
    for values, model, subject in (
        (members.values, models[:split], subjects[:split]),
        (others.values, models[split:], subjects[split:]),
    ):
        pairs, pair = np.unique(model * len(also) + subject, return_inverse=True)
        weights = times[pairs // len(also)] * also[pairs % len(also)]
        slots = _slots(values, cuts)
        counts = sparse.csr_array(
            (np.ones(len(slots), np.float32), (slots, pair)), shape=(2 * len(cuts) + 1, len(pairs))
        )
        sides.append((counts @ weights).astype(np.float64))
    own, against = sides
    there = (own.sum(0) > 0) & (against.sum(0) > 0)
    return _figures(own[:, there], against[:, there])


def _drawn(names: Indices, generator: np.random.Generator, resamples: int) -> tuple[Indices, np.ndarray]:
    """Which of the distinct names each is, ``(n,)``, and how often each of them was drawn, ``(K, B)``."""
    known, places = np.unique(names, return_inverse=True)
    counts = np.ones((len(known), resamples), dtype=np.float32)  # whole numbers all the same
    free = known >= 0
    if free.any():
        size = int(free.sum())
        counts[free] = generator.multinomial(size, np.full(size, 1 / size), size=resamples).T
    return places, counts


def _few(cuts: Floats) -> Floats:
    """At most ``CUTS`` cuts: all of the highest, which low false positive rates rest on, and some of the others."""
    if len(cuts) <= CUTS:
        return cuts
    half = CUTS // 2
    rest = np.linspace(0, len(cuts) - half - 1, half).astype(int)
    return np.concatenate([cuts[rest], cuts[-half:]])


def _slots(values: Floats, cuts: Floats) -> Indices:
    """Where each value stands among ``K`` cuts: ``2 k + 1`` on cut k, an even number between two cuts."""
    return np.asarray(np.searchsorted(cuts, values, side="left") + np.searchsorted(cuts, values, side="right"))


def _figures(own: Floats, against: Floats) -> Floats:
    """AUC and true positive rates from how much weight of members and of others stands in each slot.

    Args:
        own: of members, ``(slots, B)``.
        against: of others, ``(slots, B)``.

    Returns:
        ``(1 + len(RATES), B)``.
    """
    above = own[::-1].cumsum(0)[::-1]  # in a slot or higher
    total, others = above[0], against.sum(0)
    figures = [(against * (above - own / 2)).sum(0) / (total * others)]
    false = against[::-1].cumsum(0)
    for rate in RATES:
        # The highest slot whose passing would make too many; members must stand above it.
        stop = len(own) - 1 - np.argmax(false > rate * others * (1 + 1e-12), axis=0)
        every = np.arange(own.shape[1])
        figures.append((above[stop, every] - own[stop, every]) / total)
    return np.stack(figures)


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of several as one."""
    return Scores(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "models", "subjects"))
    )
