"""The catalogue of signals: every file of this folder, and the entry points of the group ``neuralyzer.signals``."""

from collections.abc import Collection, Iterable
from functools import cache

from neuralyzer.errors import UsageError
from neuralyzer.models.kinds.kind import Kind
from neuralyzer.signals.signal import Signal
from neuralyzer.workspace.plugins import discover


@cache
def signals() -> dict[str, Signal]:
    """Return all signals by name, retraining-based first."""
    order = ["margin", "augmented", "paraphrased", "min-k", "rounded", "relearned-elsewhere", "relearned"]
    order += ["correct", "extraction", "sampled", "fisher"]
    classes = discover("neuralyzer.signals", has=("name", "family", "measure"))
    by_name: dict[str, Signal] = {name: signal() for name, signal in classes.items()}
    return {
        name: by_name[name] for name in sorted(by_name, key=lambda n: (order.index(n) if n in order else len(order), n))
    }


def signals_of(kind: Kind, also: Collection[str] = ()) -> dict[str, Signal]:
    """Return the signals by which references of a kind are read: those that are not optional, and those in ``also``.

    Raises:
        UsageError: if one in ``also`` is unknown, or cannot read models of the kind.
    """
    named(also)
    readable = {name: own for name, own in signals().items() if getattr(own, "needs", frozenset()) <= kind.capabilities}
    wrong = sorted(set(also) - set(readable))
    if wrong:
        raise UsageError(f"the signal {wrong[0]} cannot read a {kind.name}")
    return {name: own for name, own in readable.items() if name in also or not getattr(own, "optional", False)}


def named(names: Iterable[str]) -> dict[str, Signal]:
    """Return some signals by name, in the order of the catalogue.

    Raises:
        UsageError: if one is unknown.
    """
    wanted = set(names)
    unknown = sorted(wanted - set(signals()))
    if unknown:
        raise UsageError(f"there is no signal {unknown[0]!r}; 'neuralyzer signals' lists them")
    return {name: signal for name, signal in signals().items() if name in wanted}
