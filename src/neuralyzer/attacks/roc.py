"""The ROC curve of membership scores: AUC and TPR at low FPR, with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from neuralyzer.references.signal_values import Floats, Indices

RATES = (0.01, 0.001)  # false positive rates at which true positive rates are reported
RESAMPLES = 200  # of the bootstrap
LEVEL = 0.95  # of the intervals
CUTS = 1000  # largest number of thresholds at which resamples are evaluated
POINTS = 50  # about as many points of a curve are kept


@dataclass(frozen=True)
class Scores:
    """The scores of members, or of non-members, with the models and subjects that they depend on.

    Attributes:
        values: ``(n,)``; higher: more likely a member.
        models: number of the model of each score, ``(n,)``; -1 for a fixed model, which is not resampled.
        subjects: row or subject of each score, ``(n,)``; scores of one are resampled together.
    """

    values: Floats
    models: Indices
    subjects: Indices


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; all None where there are too few negatives for it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic.

    Attributes:
        positives: number of scores of members.
        negatives: number of scores of non-members.
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
        """Return the figures as plain values, without the curve."""
        return {
            "positives": self.positives, "negatives": self.negatives,
            "auc": self.auc.value, "auc_low": self.auc.low, "auc_high": self.auc.high,
            "tpr": [
                {"fpr": rate, "tpr": estimate.value, "low": estimate.low, "high": estimate.high}
                for rate, estimate in self.tpr.items()
            ],
        }  # fmt: skip


def roc(members: Scores, others: Scores, generator: np.random.Generator, resamples: int = RESAMPLES) -> Roc:
    """Compute the ROC curve of scores, with intervals.

    Models and subjects are resampled, not single scores, since the scores of one model depend on each other, and so do
    those of one row. A score's weight is the product of how often its model and its subject were drawn (the pigeonhole
    bootstrap: Owen 2007, arXiv 0712.1111). Intervals are percentiles.

    Args:
        members: scores of rows under models that held them.
        others: scores of rows under models that did not.
        generator: of the resamples.
        resamples: number of resamples.

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
    resolved = [True, *(len(others.values) * rate >= 1 - 1e-9 for rate in RATES)]
    estimates = [
        Estimate(float(value), *(None if end is None else float(end) for end in (below, above)))
        if able
        else Estimate(None, None, None)
        for able, value, below, above in zip(resolved, whole[:, 0], low, high, strict=True)
    ]
    return Roc(
        len(members.values), len(others.values), estimates[0], dict(zip(RATES, estimates[1:], strict=True)),
        curve(members.values, others.values),
    )  # fmt: skip


def curve(members: Floats, others: Floats, points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """Return the ROC curve, thinned evenly on a logarithmic axis of false positive rates.

    Args:
        members: scores of members.
        others: scores of non-members.
        points: about as many points are kept.

    Returns:
        Corners ``(fpr, tpr)`` of the step function, from the smallest false positive rate to ``(1, 1)``: the true
        positive rate is constant up to the next false positive rate.
    """
    members, others = np.sort(members), np.sort(others)
    cuts = np.unique(others)
    # Rates of the rule "above the threshold": tied scores are all above or all not.
    false = 1 - np.searchsorted(others, cuts, side="right") / len(others)
    true = 1 - np.searchsorted(members, cuts, side="right") / len(members)
    false, true = np.append(false[::-1], 1.0), np.append(true[::-1], 1.0)
    wanted = np.geomspace(1 / len(others), 1, points)
    kept = np.unique(np.concatenate([[0], np.searchsorted(false, wanted, side="right") - 1]))
    return tuple((round(float(false[place]), 6), round(float(true[place]), 6)) for place in kept)


def _resampled(members: Scores, others: Scores, generator: np.random.Generator, resamples: int) -> Floats:
    """Return the figures of resamples, ``(3, B)``; resamples without any member or non-member are dropped."""
    cuts = _thinned_cuts(np.unique(others.values))
    split = len(members.values)
    models, model_counts = _drawn(np.concatenate([members.models, others.models]), generator, resamples)
    subjects, subject_counts = _drawn(np.concatenate([members.subjects, others.subjects]), generator, resamples)
    width = len(subject_counts)
    sides = []
    for values, model, subject in (
        (members.values, models[:split], subjects[:split]),
        (others.values, models[split:], subjects[split:]),
    ):
        pairs, pair = np.unique(model * width + subject, return_inverse=True)
        weights = model_counts[pairs // width] * subject_counts[pairs % width]
        slots = _slots(values, cuts)
        counts = sparse.csr_array(
            (np.ones(len(slots), np.float32), (slots, pair)), shape=(2 * len(cuts) + 1, len(pairs))
        )
        sides.append((counts @ weights).astype(np.float64))
    positives, negatives = sides
    complete = (positives.sum(0) > 0) & (negatives.sum(0) > 0)
    return _figures(positives[:, complete], negatives[:, complete])


def _drawn(names: Indices, generator: np.random.Generator, resamples: int) -> tuple[Indices, np.ndarray]:
    """Return the index of each among the ``K`` distinct names, ``(n,)``, and how often each was drawn, ``(K, B)``."""
    distinct, places = np.unique(names, return_inverse=True)
    counts = np.ones((len(distinct), resamples), dtype=np.float32)  # integers, in the type of the later products
    free = distinct >= 0
    if free.any():
        size = int(free.sum())
        counts[free] = generator.multinomial(size, np.full(size, 1 / size), size=resamples).T
    return places, counts


def _thinned_cuts(cuts: Floats) -> Floats:
    """Return at most ``CUTS`` thresholds: all of the highest, for low false positive rates, and some of the others."""
    if len(cuts) <= CUTS:
        return cuts
    half = CUTS // 2
    rest = np.linspace(0, len(cuts) - half - 1, half).astype(int)
    return np.concatenate([cuts[rest], cuts[-half:]])


def _slots(values: Floats, cuts: Floats) -> Indices:
    """Return the slot of each value among ``K`` thresholds: ``2 k + 1`` on threshold k, even between two."""
    return np.asarray(np.searchsorted(cuts, values, side="left") + np.searchsorted(cuts, values, side="right"))


def _figures(positives: Floats, negatives: Floats) -> Floats:
    """Return AUC and true positive rates.

    Args:
        positives: weight of members' scores in each slot, ``(slots, B)``.
        negatives: weight of non-members' scores in each slot, ``(slots, B)``.

    Returns:
        ``(1 + len(RATES), B)``.
    """
    above = positives[::-1].cumsum(0)[::-1]  # in a slot or higher
    total, others = above[0], negatives.sum(0)
    figures = [(negatives * (above - positives / 2)).sum(0) / (total * others)]
    false = negatives[::-1].cumsum(0)
    for rate in RATES:
        # The highest slot from which on there are too many false positives; true positives are counted above it.
        stop = len(positives) - 1 - np.argmax(false > rate * others * (1 + 1e-12), axis=0)
        columns = np.arange(positives.shape[1])
        figures.append((above[stop, columns] - positives[stop, columns]) / total)
    return np.stack(figures)


def joined(parts: Sequence[Scores]) -> Scores:
    """Join several sets of scores to one."""
    return Scores(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "models", "subjects"))
    )
