"""The four words that an audit and a verification may end with."""

from collections.abc import Collection, Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """How much of a request's rows a model holds."""

    FORGOTTEN = "forgotten"
    NOT_FORGOTTEN = "not forgotten"
    UNTRACEABLE = "untraceable"
    INCONCLUSIVE = "inconclusive"


FIRST_LOOK, SECOND_LOOK = 1.960, 2.241  # normal quantiles at 2.5 % and 1.25 % misses


def counting(detectable: Mapping[str, float], limit: float = 1.0) -> tuple[str, ...]:
    """The signals whose detectable trace, on the tuning half, would have found the original's whole trace."""
    return tuple(signal for signal, value in detectable.items() if value <= limit)


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
        original_rejected: whether the audit on the tuning half rejected it of the original.
        detectable: detectable trace by signal, on the half that decides.
        counts: signals that count, declared before unlearning.
        required: groups of signals of which one each must count.
        max_trace: largest detectable trace allowed.
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
    if not original_rejected and not counts:
        return Verdict.UNTRACEABLE
    enough = all(any(signal in counts for signal in group) for group in required)
    if enough and counts and all(detectable[signal] <= max_trace for signal in counts):
        return Verdict.FORGOTTEN
    return Verdict.INCONCLUSIVE
