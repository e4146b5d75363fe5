"""Numbers and verdicts as people read them."""

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
) -> str:
    """A verification's verdict in plain words.

    Args:
        verdict: the word.
        exact: whether the training record decides.
        p: of the joint test; None where nothing was read.
        why: what makes the verdict inconclusive besides the test itself.
        references: how many exact references judged.
        detectable: the smallest trace that every counting family would have found.

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
    bound = "" if detectable is None else f", and a trace of {percent(detectable)} or more would have been found"
    return {
        Verdict.FORGOTTEN: f"Forgotten: the model behaves on these rows as one that never saw them{bound}, p = {p:.2f}.",
        Verdict.NOT_FORGOTTEN: f"Not forgotten: no model that never saw these rows behaves like this, p = {p:.3f}.",
        Verdict.UNTRACEABLE: f"Untraceable: neither original nor new model shows a measurable trace, p = {p:.2f}.",
        Verdict.INCONCLUSIVE: f"Inconclusive: no trace was seen, but one might have been missed, p = {p:.2f}.",
    }[verdict] + against
