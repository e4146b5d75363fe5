"""The catalogue of algorithms: every file of this folder, and the entry points of the group ``neuralyzer.methods``."""

import dataclasses
from functools import cache
from typing import Any, cast

from neuralyzer.errors import UsageError
from neuralyzer.unlearning.composition import JOINT, Composed, composed
from neuralyzer.unlearning.method import Method
from neuralyzer.workspace.plugins import discover


@cache
def methods() -> dict[str, type[Any]]:
    """Return the classes of all algorithms by name, the strongest guarantee first."""
    discovered = discover("neuralyzer.methods", has=("name", "guarantee", "needs", "passes", "unlearn"))
    classes = [kind for kind in discovered.values() if kind is not Composed]
    return {kind.name: kind for kind in sorted(classes, key=lambda kind: (-kind.guarantee.strength, kind.name))}


def names() -> list[str]:
    """Return the names of all algorithms."""
    return list(methods())


def get(name: str) -> type[Any]:
    """Return an algorithm's class; called with hyperparameters it gives a ``Method``.

    Args:
        name: as on the command line.

    Returns:
        The class.

    Raises:
        UsageError: if there is none of that name.
    """
    if name not in methods():
        raise UsageError(f"there is no method {name!r}; there are {', '.join(names())}")
    return methods()[name]


def make(name: str, **hyperparameters: Any) -> Method:
    """Return an algorithm with its paper's defaults, or with the given hyperparameters.

    Args:
        name: as on the command line; several joined by ``+`` are a sequence.
        hyperparameters: values that replace the defaults.

    Returns:
        The method.

    Raises:
        UsageError: if it has no such hyperparameter.
    """
    if JOINT in name:
        if hyperparameters:
            raise UsageError(f"{name} is a sequence of methods, which takes no hyperparameters")
        return cast(Method, composed(name, make))
    kind = get(name)
    try:
        method: Method = kind(**hyperparameters)
    except TypeError as error:
        known = ", ".join(field.name for field in dataclasses.fields(kind)) or "none"
        raise UsageError(f"method {name} takes {known} ({error})") from error
    return method


def hyperparameters(method: Any) -> dict[str, Any]:
    """Return a method's hyperparameters by name; of a sequence, those of each part."""
    if isinstance(method, Composed):
        return {f"{part.name}.{name}": value for part in method.parts for name, value in hyperparameters(part).items()}
    return {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
