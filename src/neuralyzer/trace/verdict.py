"""The verdict: the four words that an audit and a verification may end with, and the rule that chooses one."""

from collections.abc import Collection, Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """A statement on whether a model still holds a request's rows."""

    FORGOTTEN = "forgotten"
    NOT_FORGOTTEN = "not forgotten"
    UNTRACEABLE = "untraceable"
    INCONCLUSIVE = "inconclusive"


# Standard normal quantiles: a detectable trace is missed in 2.5 % of cases at the first access to the evaluation split
# and in 1.25 % at the second (docs/requests.md, "Evaluation accesses").
FIRST_ACCESS, SECOND_ACCESS = 1.960, 2.241


def counting(detectable: Mapping[str, float], limit: float = 1.0) -> tuple[str, ...]:
    """Return the signals that could have found the original's whole trace, by their detectable traces."""
    return tuple(signal for signal, value in detectable.items() if value <= limit)


def bound(
    detectable: Mapping[str, float], counts: Collection[str], required: Collection[Collection[str]]
) -> float | None:
    """Return the smallest trace that would have been found by each kind of evidence that a verdict requires.

    A less sensitive family is tested as well, and may reject; it does not make the bound of the others larger.

    Args:
        detectable: detectable trace by signal.
        counts: signals that count.
        required: groups of signals of which one each must count.

    Returns:
        The largest, over the groups, of the smallest detectable trace of a counting signal; None where a group has
        none.
    """
    smallest = [min((detectable[signal] for signal in group if signal in counts), default=None) for group in required]
    known = [value for value in smallest if value is not None]
    return max(known) if smallest and len(known) == len(smallest) else None


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
    """Return the verdict on a model.

    Args:
        rejects: whether the joint test rejects that the model never saw the rows.
        original_rejected: whether the joint test rejects this for the original, on either split.
        detectable: detectable trace by signal, on the split that decides.
        counts: signals that count, declared before unlearning.
        required: groups of signals of which one each must count.
        max_trace: largest trace that may have been missed: ``bound`` must not exceed it.
        alarmed: whether the negative control failed: the test rejects models that never saw the rows.
        missed: whether the positive control failed: the test does not find models that saw them.

    Returns:
        The first of the words that applies. A failed positive control does not invalidate a rejection.
    """
    if alarmed:
        return Verdict.INCONCLUSIVE
    if rejects:
        return Verdict.NOT_FORGOTTEN
    if missed:
        return Verdict.INCONCLUSIVE
    if not original_rejected:  # a test that does not find the rows in the original proves nothing where it finds none
        return Verdict.INCONCLUSIVE if counts else Verdict.UNTRACEABLE
    limit = bound(detectable, counts, required)
    return Verdict.FORGOTTEN if limit is not None and limit <= max_trace else Verdict.INCONCLUSIVE
