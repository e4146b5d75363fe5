"""Finds classes by what they have: in every module of a package, and through entry points of the same name."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

from neuralyzer.errors import UsageError


def discover(package: str, has: Sequence[str]) -> Iterator[type[Any]]:
    """Classes that a catalogue lists.

    Args:
        package: its modules are imported; also the group of the entry points of third parties.
        has: attributes that make a class one of those looked for.

    Yields:
        Classes, each once.

    Raises:
        UsageError: if a third party's entry point does not have what it should.
    """
    found = importlib.import_module(package)
    for module in sorted(info.name for info in pkgutil.iter_modules(found.__path__)):
        for _, kind in inspect.getmembers(importlib.import_module(f"{package}.{module}"), inspect.isclass):
            own = kind.__module__ == f"{package}.{module}"
            if own and Protocol not in kind.__bases__ and all(hasattr(kind, name) for name in has):
                yield kind
    for entry in entry_points(group=package):
        kind = entry.load()
        missing = [name for name in has if not hasattr(kind, name)]
        if missing:
            raise UsageError(f"entry point {entry.name} of {package} has no {', '.join(missing)}")
        yield kind
