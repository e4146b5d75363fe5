"""Finds the signals: every file of this folder, and the entry points of the group ``neuralyzer.signals``."""

from functools import cache

from neuralyzer.models.kinds.kind import Kind
from neuralyzer.signals.signal import Signal
from neuralyzer.workspace.plugins import discover


@cache
def signals() -> dict[str, Signal]:
    """All signals by name, retraining-based first."""
    order = ["margin", "augmented", "relearned", "correct", "fisher"]
    kinds = discover("neuralyzer.signals", has=("name", "family", "measure"))
    found: dict[str, Signal] = {name: kind() for name, kind in kinds.items()}
    return {
        name: found[name] for name in sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))
    }


def signals_of(kind: Kind) -> dict[str, Signal]:
    """The signals that models of a kind can be read with."""
    return {name: own for name, own in signals().items() if getattr(own, "needs", frozenset()) <= kind.capabilities}
