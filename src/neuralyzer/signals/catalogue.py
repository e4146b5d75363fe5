"""The catalogue of signals: every file of this folder, and the entry points of the group ``neuralyzer.signals``."""

from functools import cache

from neuralyzer.models.kinds.kind import Kind
from neuralyzer.signals.signal import Signal
from neuralyzer.workspace.plugins import discover


@cache
def signals() -> dict[str, Signal]:
    """Return all signals by name, retraining-based first."""
    order = ["margin", "augmented", "relearned", "correct", "fisher"]
    classes = discover("neuralyzer.signals", has=("name", "family", "measure"))
    by_name: dict[str, Signal] = {name: signal() for name, signal in classes.items()}
    return {
        name: by_name[name] for name in sorted(by_name, key=lambda n: (order.index(n) if n in order else len(order), n))
    }


def signals_of(kind: Kind) -> dict[str, Signal]:
    """Return the signals that can read models of a kind."""
    return {
        name: signal for name, signal in signals().items() if getattr(signal, "needs", frozenset()) <= kind.capabilities
    }
