"""Numbers and verdicts as people read them."""

from neuralyzer.trace.verdict import Verdict


def percent(value: float | None) -> str:
    """A fraction as ``104 %``; a dash where it is missing."""
    return "-" if value is None else f"{100 * value:.0f} %"


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


def sentence(verdict: Verdict, exact: bool, p: float | None, answerable: str | None = None, references: int = 0) -> str:
    """A verification's verdict in plain words."""
    if exact:
        return "Forgotten by construction: the training record shows no forget row."
    if p is None:
        return "Inconclusive: without references that read these rows nothing can be judged."
    if answerable is not None:
        why = f"Inconclusive: the pool cannot answer this request, since {answerable}."
        return f"{why} An exact option needs no test, and exact references could judge."
    against = f" Judged by {references} models trained on exactly the retained rows." if references else ""
    return {
        Verdict.FORGOTTEN: f"Forgotten: the model behaves on these rows as one that never saw them, p = {p:.2f}.",
        Verdict.NOT_FORGOTTEN: f"Not forgotten: no model that never saw these rows behaves like this, p = {p:.3f}.",
        Verdict.UNTRACEABLE: f"Untraceable: neither original nor new model shows a measurable trace, p = {p:.2f}.",
        Verdict.INCONCLUSIVE: f"Inconclusive: no trace was seen, but one might have been missed, p = {p:.2f}.",
    }[verdict] + against
