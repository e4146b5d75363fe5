"""The discovery of classes by their attributes: in every module of a package, and through entry points."""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from neuralyzer.errors import NeuralyzerWarning


def discover(package: str, has: Sequence[str]) -> dict[str, type[Any]]:
    """Return the classes that a catalogue lists.

    A third party's class that cannot be loaded, lacks an attribute, or has a name that is taken is left out with a
    warning. It never replaces another class, and never stops a command that does not need it.

    Args:
        package: all modules under it are imported; also the name of the group of entry points.
        has: attributes that a class must have to be listed; ``name`` is one of them.

    Returns:
        Classes by name.
    """
    kinds = {kind.name: kind for kind in _built_in(package, has)}
    for entry in sorted(entry_points(group=package), key=lambda entry: entry.name):
        kind, wrong = _loaded(entry, has)
        if kind is not None and kinds.setdefault(kind.name, kind) is not kind:
            other = kinds[kind.name]
            wrong = f"it calls itself {kind.name!r}, which {other.__module__}.{other.__qualname__} does already"
        if wrong:
            warnings.warn(f"plugin {entry.name} of {package} is left out: {wrong}", NeuralyzerWarning, stacklevel=2)
    return kinds


def _built_in(package: str, has: Sequence[str]) -> Iterator[type[Any]]:
    imported = importlib.import_module(package)
    for module in sorted(info.name for info in pkgutil.walk_packages(imported.__path__, f"{package}.")):
        for _, kind in inspect.getmembers(importlib.import_module(module), inspect.isclass):
            defined_there = kind.__module__ == module
            if defined_there and Protocol not in kind.__bases__ and all(hasattr(kind, name) for name in has):
                yield kind


def _loaded(entry: EntryPoint, has: Sequence[str]) -> tuple[type[Any] | None, str]:
    """Return the object of an entry point, or what is wrong with it."""
    try:
        kind: type[Any] = entry.load()
    except Exception as error:  # noqa: BLE001  a third party's module may raise anything
        return None, f"{type(error).__name__}: {' '.join(str(error).split())}"
    missing = [name for name in has if not hasattr(kind, name)]
    return (None, f"it has no {', '.join(missing)}") if missing else (kind, "")
