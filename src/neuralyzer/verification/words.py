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
