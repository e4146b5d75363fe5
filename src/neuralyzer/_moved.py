"""Old names of what plugins use and of modules that moved; they work for one more version, with a warning."""

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MOVED = {
    "neuralyzer.methods.continuing": "neuralyzer.unlearning.training_loop",
    "neuralyzer.methods.method": "neuralyzer.unlearning.method",
    "neuralyzer.methods.repair": "neuralyzer.unlearning.repair",
    "neuralyzer.methods.search": "neuralyzer.unlearning.search",
    "neuralyzer.methods.task": "neuralyzer.unlearning.task",
}


class OldNames:
    """A finder of modules by their old names; the module is the same object under both."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a module that moved, None for any other."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module under its new name."""
        new = MOVED[spec.name]
        warn(spec.name, new)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's new name; it was executed when it was imported under that."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Install the finder, so that old names can be imported."""
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.append(OldNames())


def warn(old: str, new: str, depth: int = 3) -> None:
    """Warn that a name is an old one.

    Args:
        old: the name that was used.
        new: the name that it has now.
        depth: of the caller to whom the warning is shown; 1 is this function.
    """
    warnings.warn(f"{old} is now {new}; the old name goes with the next version", DeprecationWarning, depth)


class OldAttribute:
    """An attribute of a class under its old name.

    Args:
        new: its name now.
    """

    def __init__(self, new: str) -> None:
        self.new, self.old, self.owner = new, "", ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.old, self.owner = name, owner.__name__

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        warn(f"{self.owner}.{self.old}", f"{self.owner}.{self.new}")
        return getattr(instance, self.new)


def old_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module some of whose names are old.

    Args:
        module: its name.
        names: by old name, the new one with its module.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = names[name].rpartition(".")
        warn(f"{module}.{name}", names[name])
        return getattr(importlib.import_module(home), new)

    return find


def old_arguments(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that lets keyword arguments be given by their old names.

    Args:
        names: by old name, the new one.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            for old in [name for name in keywords if name in names]:
                warn(f"{function.__qualname__}({old}=)", f"{function.__qualname__}({names[old]}=)")
                keywords[names[old]] = keywords.pop(old)
            return function(*arguments, **keywords)

        return call

    return decorate
