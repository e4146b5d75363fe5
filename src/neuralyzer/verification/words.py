"""The wording of numbers and verdicts in terminal, report and certificate."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neuralyzer.trace.verdict import Verdict


def percent(value: float | None) -> str:
    """Return a fraction as ``104 %``; a dash where it is missing."""
    return "-" if value is None else f"{100 * value:.0f} %"


UNSEEN = "a whole trace would have been found with 95 % power, and the model, which was trained on the rows, shows none"
NOT_FOUND = (
    "the original, which was trained on these rows, is not found on them though a whole trace would have been; nothing "
    "follows from what is not found after it"
)
TRAINED = "these weights were trained on the rows"
OTHERWISE = "An exact option needs no test, and exact references could judge"  # if the pool cannot answer
# Options of ``forget`` that settle an inconclusive verdict, and what they do.
SETTLING = {"--method": "retrains: exact, and needs no test", "--exact-references": "judges by models trained anew"}
WIDEST = 4.0  # whole traces: of a wider interval neither ends nor estimate are printed
NO_NUMBER = "too uncertain for a number"


def narrow_enough(low: float | None, high: float | None) -> bool:
    """Return whether a trace's interval is narrow enough for the trace to be printed as a number."""
    return low is None or high is None or high - low <= WIDEST


REQUIRED = ("retraining", "attack", "relearning")  # families that a verdict requires; see ``audit.required``


def leading_family(families: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the family shown where only one figure is: the one whose detectable trace is the bound.

    Args:
        families: rows of an audit or a verification.

    Returns:
        The most sensitive counting family of retraining and attack, or that of relearning, whichever is less sensitive:
        what it would have found, the other would too. None where no family counts.
    """
    relearning: dict[bool, list[Mapping[str, Any]]] = {True: [], False: []}
    counting = [row for row in families if row["counts"] and row["detectable"] is not None]
    for row in counting:
        if row["family"] in REQUIRED:
            relearning[row["family"] == "relearning"].append(row)
    best = [min(group, key=_detectable) for group in relearning.values() if group]
    return max(best, key=_detectable) if best else min(counting, key=_detectable, default=None)


def shares(families: Sequence[Mapping[str, Any]], trace: str) -> tuple[str, str]:
    """Return in words how much of a trace was measured.

    Args:
        families: rows of an audit or a claim.
        trace: name of the trace, such as ``the rows' trace``.

    Returns:
        The share; and a clause with it, or one that no family could have found a whole trace.
    """
    first, share = leading_family(families), f"a share of {trace} {NO_NUMBER}"
    if first is not None and narrow_enough(first["low"], first["high"]):
        share = f"{percent(first['trace'])} of {trace} ({100 * first['low']:.0f} to {percent(first['high'])})"
    return share, "no family could have found a whole trace" if first is None else f"{share} is read"


def remaining(families: Iterable[Mapping[str, Any]]) -> float | None:
    """Return how much of the trace may remain: the upper end of the leading family's interval; None without one."""
    first = leading_family(families)
    if first is None or first["high"] is None or not narrow_enough(first["low"], first["high"]):
        return None
    return max(0.0, float(first["high"]))


def _detectable(row: Mapping[str, Any]) -> float:
    return float(row["detectable"])


def colour(verdict: Verdict) -> str:
    """Return the terminal's colour for a verdict."""
    return {
        Verdict.FORGOTTEN: "green",
        Verdict.UNTRACEABLE: "cyan",
        Verdict.INCONCLUSIVE: "yellow",
        Verdict.NOT_FORGOTTEN: "red",
    }[verdict]


def bar(trace: float, width: int = 40) -> str:
    """Return a trace as a bar of blocks, 0 to 100 %."""
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
    """Return a verification's verdict in plain words.

    Args:
        verdict: the word.
        exact: whether the training record decides.
        p: of the joint test; None where nothing was read.
        why: reason for which the verdict is inconclusive, if it is not the test itself.
        references: number of exact references that judged.
        detectable: the smallest trace that would have been found by each kind of evidence that a verdict requires.
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
