"""What ``module:attribute`` names, the uvicorn convention: recipes and functions of a person's own."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from neuralyzer.errors import UsageError

# What a user's own module may fail with while it is imported or called.
FAILURES = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    RuntimeError,
    OSError,
)

_own: dict[tuple[str, str], ModuleType] = {}  # by a project's folder and the module's name


def named(name: str, folder: Path | None = None, what: str = "recipe") -> Any:
    """The attribute of a module.

    Args:
        name: such as ``oracle:recipe``.
        folder: where modules are looked for before anywhere else; the present one by default.
        what: what to call it in an error.

    Returns:
        The attribute.

    Raises:
        UsageError: if there is none.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise UsageError(f"{what} {name!r} is not of the form module:attribute")
    try:
        found = _module(module, (folder or Path()).absolute())
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} {name!r}: no module {error.name!r} can be imported from here") from error
    except FAILURES as error:
        raise UsageError(f"{what} {name!r}: importing {module} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{what} {name!r}: {module} has no {attribute}")
        found = getattr(found, part)
    return found


def _module(name: str, folder: Path) -> ModuleType:
    """A module, the folder's own where it has one: two projects in one process may both have an ``oracle.py``."""
    place, root = str(folder), name.partition(".")[0]
    has_own = (folder / f"{root}.py").exists() or (folder / root).is_dir()
    if has_own and (place, name) in _own and _own[place, name].__name__ in sys.modules:
        return _own[place, name]
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    if has_own and root in sys.modules and (other := _project_of(sys.modules[root])) not in (None, place):
        for known, module in list(sys.modules.items()):
            if _belongs(module, other):
                del sys.modules[known]  # what was made of it keeps it
        importlib.invalidate_caches()
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)  # whose workers have imported the other project's
    found = importlib.import_module(name)
    _own[place, name] = found
    return found


def _project_of(module: Any) -> str | None:
    """The folder of the project that a module was imported from; None where it is no project's."""
    return next((place for place in dict.fromkeys(place for place, _ in _own) if _belongs(module, place)), None)


def _belongs(module: Any, place: str) -> bool:
    """Whether a module was imported from a folder."""
    file, name = getattr(module, "__file__", None) or "", getattr(module, "__name__", "")
    if not name or not file.startswith(place):  # of thousands of modules nearly all
        return False
    own = Path(place, *name.split("."))
    return Path(file) in (own.with_name(f"{own.name}.py"), own / "__init__.py")


@dataclass(frozen=True)
class NamedFunction:
    """A function that is known by its name, so that it can be sent to another process; its failures become one line.

    Attributes:
        name: such as ``oracle:transform``.
        folder: where modules are looked for before anywhere else.
        what: what to call it in an error.
    """

    name: str
    folder: Path
    what: str

    def __post_init__(self) -> None:
        found = named(self.name, self.folder, self.what)
        if not callable(found):
            raise UsageError(f"{self.what} {self.name!r} is a {type(found).__name__}, not a function")

    def __call__(self, *arguments: Any) -> Any:
        """Call it.

        Args:
            arguments: the function's.

        Returns:
            What it gives.

        Raises:
            UsageError: if it fails.
        """
        found = named(self.name, self.folder, self.what)
        try:
            return found(*arguments)
        except FAILURES as error:
            raise UsageError(f"{self.what} {self.name!r} failed: {type(error).__name__}: {error}") from error
