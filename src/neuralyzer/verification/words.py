"""Numbers and verdicts as people read them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neuralyzer.trace.verdict import Verdict


def percent(value: float | None) -> str:
    """A fraction as ``104 %``; a dash where it is missing."""
    return "-" if value is None else f"{100 * value:.0f} %"


UNSEEN = "a whole trace would have been found with 95 % power, and the model, which was trained on the rows, shows none"
NOT_FOUND = (
    "the original, which was trained on these rows, is not found on them though a whole trace would have been; nothing "
    "follows from what is not found after it"
)
TRAINED = "these weights were trained on the rows"
OTHERWISE = "An exact option needs no test, and exact references could judge"  # where the pool cannot
# Options of ``forget`` that settle an inconclusive verdict, and what they do.
SETTLING = {"--method": "retrains: exact, and needs no test", "--exact-references": "judges by models trained anew"}
WIDEST = 4.0  # whole traces; an interval that is wider says nothing, and neither does the number inside it
NO_NUMBER = "too uncertain for a number"


def telling(low: float | None, high: float | None) -> bool:
    """Whether a trace's interval is narrow enough for the trace to be printed as a number."""
    return low is None or high is None or high - low <= WIDEST


def traced(trace: float | None, low: float | None, high: float | None) -> str:
    """A trace with its interval as ``63 % (20 to 106 %)``, or words where the interval makes it meaningless."""
    if not telling(low, high):
        return NO_NUMBER
    return percent(trace) if low is None or high is None else f"{percent(trace)} ({100 * low:.0f} to {percent(high)})"


REQUIRED = ("retraining", "attack", "relearning")  # families that a verdict asks for; see ``audit.required``


def speaks(families: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The family that speaks for all wherever one figure must do: the one whose detectable trace is the bound.

    Args:
        families: lines of an audit or a verification.

    Returns:
        Of retraining and attack, and of relearning, the finest that counts; of these two the coarser, so that what it
        would have found, either would. None where no family counts.
    """
    relearning: dict[bool, list[Mapping[str, Any]]] = {True: [], False: []}
    counting = [row for row in families if row["counts"] and row["detectable"] is not None]
    for row in counting:
        if row["family"] in REQUIRED:
            relearning[row["family"] == "relearning"].append(row)
    finest = [min(group, key=_detectable) for group in relearning.values() if group]
    return max(finest, key=_detectable) if finest else min(counting, key=_detectable, default=None)


def shares(families: Sequence[Mapping[str, Any]], trace: str) -> tuple[str, str]:
    """How much of a trace is read, in words.

    Args:
        families: lines of an audit or a claim.
        trace: whose, such as ``the rows' trace``.

    Returns:
        The share; and a clause that says what was read, or that no family could have found a whole trace.
    """
    first, share = speaks(families), f"a share of {trace} {NO_NUMBER}"
    if first is not None and telling(first["low"], first["high"]):
        share = f"{percent(first['trace'])} of {trace} ({100 * first['low']:.0f} to {percent(first['high'])})"
    return share, "no family could have found a whole trace" if first is None else f"{share} is read"


def remaining(families: Iterable[Mapping[str, Any]]) -> float | None:
    """How much of the trace may remain: the upper end of the interval of the family that speaks; None where none does."""
    first = speaks(families)
    if first is None or first["high"] is None or not telling(first["low"], first["high"]):
        return None
    return max(0.0, float(first["high"]))


def _detectable(row: Mapping[str, Any]) -> float:
    return float(row["detectable"])


def colour(verdict: Verdict) -> str:
    """The terminal's colour for a verdict."""
    return {
        Verdict.FORGOTTEN: "green",
        Verdict.UNTRACEABLE: "cyan",
        Verdict.INCONCLUSIVE: "yellow",
        Verdict.NOT_FORGOTTEN: "red",
    }[verdict]


def bar(trace: float, width: int = 40) -> str:
    """A trace as a bar of blocks, 0 to 100 %."""
    filled = round(min(max(trace, 0.0), 1.0) * width)
    return "█" * filled + "░" * (width - filled)


def sentence(
    verdict: Verdict,
    exact: bool,
    p: float | None,
    why: str | None = None,
    references: int = 0,
    detectable: float | None = None,
    remains: float | None = None,
) -> str:
    """A verification's verdict in plain words.

    Args:
        verdict: the word.
        exact: whether the training record decides.
        p: of the joint test; None where nothing was read.
        why: what makes the verdict inconclusive besides the test itself.
        references: how many exact references judged.
        detectable: the smallest trace that would have been found in each way that a verdict requires.
        remains: how much of the trace may remain.

    Returns:
        One or two sentences; the first has the bound.
    """
    if exact:
        return "Forgotten by construction: the training record shows no forget row."
    if why is not None:
        return f"Inconclusive: {why}."
    if p is None:
        return "Inconclusive: without references that read these rows nothing can be judged."
    against = f" Judged by {references} models trained on exactly the retained rows." if references else ""
    bound = "" if remains is None else f"; up to {percent(remains)} of their trace may remain"
    if detectable is not None:
        bound += f"{',' if bound else ''} and a trace of {percent(detectable)} or more would have been found"
    return {
        Verdict.FORGOTTEN: f"Forgotten: the model behaves on these rows as one that never saw them{bound}, p = {p:.2f}.",
        Verdict.NOT_FORGOTTEN: f"Not forgotten: no model that never saw these rows behaves like this, p = {p:.3f}.",
        Verdict.UNTRACEABLE: f"Untraceable: neither original nor new model shows a measurable trace, p = {p:.2f}.",
        Verdict.INCONCLUSIVE: f"Inconclusive: no trace was seen, but one might have been missed, p = {p:.2f}.",
    }[verdict] + against
