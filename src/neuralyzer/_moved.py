"""Old names of modules that plugins import and that moved; they work for one more version, with a warning."""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

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
        warnings.warn(f"{spec.name} is now {new}; the old name goes with the next version", DeprecationWarning, 2)
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
