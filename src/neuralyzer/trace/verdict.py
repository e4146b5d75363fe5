"""The four words that an audit and a verification may end with."""

from collections.abc import Collection, Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """How much of a request's rows a model holds."""

    FORGOTTEN = "forgotten"
    NOT_FORGOTTEN = "not forgotten"
    UNTRACEABLE = "untraceable"
    INCONCLUSIVE = "inconclusive"


FIRST_ACCESS, SECOND_ACCESS = 1.960, 2.241  # normal quantiles at 2.5 % and 1.25 % misses


def counting(detectable: Mapping[str, float], limit: float = 1.0) -> tuple[str, ...]:
    """The signals whose detectable trace, on the tuning split, would have found the original's whole trace."""
    return tuple(signal for signal, value in detectable.items() if value <= limit)


def bound(
    detectable: Mapping[str, float], counts: Collection[str], required: Collection[Collection[str]]
) -> float | None:
    """The trace that would have been found in each way that a verdict requires.

    A family that sees coarsely is tested as well, and may reject; it makes no other family see less.

    Args:
        detectable: detectable trace by signal.
        counts: signals that count.
        required: groups of signals of which one each must count.

    Returns:
        The largest over the groups of the finest counting signal's; None where a group has none.
    """
    finest = [min((detectable[signal] for signal in group if signal in counts), default=None) for group in required]
    known = [own for own in finest if own is not None]
    return max(known) if finest and len(known) == len(finest) else None


def decide(
    *,
    rejects: bool,
    original_rejected: bool,
    detectable: Mapping[str, float],
    counts: Collection[str],
    required: Collection[Collection[str]],
    max_trace: float,
    alarmed: bool = False,
    missed: bool = False,
) -> Verdict:
    """The verdict on a model.

    Args:
        rejects: whether the joint test rejects that the model never saw the rows.
        original_rejected: whether the joint test rejects it of the original: on the tuning split, or where it judges.
        detectable: detectable trace by signal, on the split that decides.
        counts: signals that count, declared before unlearning.
        required: groups of signals of which one each must count.
        max_trace: largest trace that may have been missed: of each required group, the finest counting signal finds it.
        alarmed: whether the negative control failed: the test rejects models that never saw the rows.
        missed: whether the positive control failed: the test does not find models that saw them.

    Returns:
        The first of the words that applies. A test that misses still says something where it rejects.
    """
    if alarmed:
        return Verdict.INCONCLUSIVE
    if rejects:
        return Verdict.NOT_FORGOTTEN
    if missed:
        return Verdict.INCONCLUSIVE
    if not original_rejected:  # what is not found before is not missed after
        return Verdict.INCONCLUSIVE if counts else Verdict.UNTRACEABLE
    limit = bound(detectable, counts, required)
    return Verdict.FORGOTTEN if limit is not None and limit <= max_trace else Verdict.INCONCLUSIVE
