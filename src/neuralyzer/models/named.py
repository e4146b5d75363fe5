"""Import of the user's recipes and functions by ``module:attribute``, the convention of uvicorn."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from neuralyzer.errors import UsageError

# Exceptions that a user's module may raise while it is imported or called.
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

_project_modules: dict[tuple[str, str], ModuleType] = {}  # by a project's folder and the module's name
_unloaded: dict[str, dict[str, ModuleType]] = {}  # modules of a project that those of another one have replaced


def named(name: str, folder: Path | None = None, what: str = "recipe") -> Any:
    """Import a module and return its attribute.

    Args:
        name: such as ``oracle:recipe``.
        folder: searched for modules before ``sys.path``; the present one by default.
        what: name of the attribute in error messages.

    Returns:
        The attribute.

    Raises:
        UsageError: if there is none.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise UsageError(f"{what} {name!r} is not of the form module:attribute")
    try:
        value = _module(module, (folder or Path()).absolute())
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} {name!r}: no module {error.name!r} can be imported from here") from error
    except FAILURES as error:
        raise UsageError(f"{what} {name!r}: importing {module} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise UsageError(f"{what} {name!r}: {module} has no {attribute}")
        value = getattr(value, part)
    return value


def _module(name: str, folder: Path) -> ModuleType:
    """Return a module, imported from the project's folder where it has one of that name.

    Two projects in one process may both have an ``oracle.py``; then the other project's modules are unloaded first, and
    come back when that project is worked on again.
    """
    project, root = str(folder), name.partition(".")[0]
    in_project = (folder / f"{root}.py").exists() or (folder / root).is_dir()
    known = _project_modules.get((project, name))
    if in_project and known is not None and sys.modules.get(known.__name__) is known:
        return known
    if project in sys.path:
        sys.path.remove(project)
    sys.path.insert(0, project)
    if in_project and root in sys.modules and (other := _project_of(sys.modules[root])) not in (None, project):
        _unloaded[other] = {loaded: one for loaded, one in list(sys.modules.items()) if _belongs(one, other)}
        for loaded in _unloaded[other]:
            del sys.modules[loaded]
        sys.modules.update(_unloaded.pop(project, {}))
        importlib.invalidate_caches()
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)  # its workers have imported the other project's modules
    module = importlib.import_module(name)
    _project_modules[project, name] = module
    return module


def _project_of(module: Any) -> str | None:
    """Return the folder of the project that a module was imported from; None where it belongs to no project."""
    projects = dict.fromkeys(project for project, _ in _project_modules)
    return next((project for project in projects if _belongs(module, project)), None)


def _belongs(module: Any, project: str) -> bool:
    """Return whether a module was imported from a project's folder."""
    file, name = getattr(module, "__file__", None) or "", getattr(module, "__name__", "")
    if not name or not file.startswith(project):  # true of nearly all of thousands of modules, so checked first
        return False
    path = Path(project, *name.split("."))
    return Path(file) in (path.with_name(f"{path.name}.py"), path / "__init__.py")


@dataclass(frozen=True)
class NamedFunction:
    """A function held by its name, so that it can be sent to another process; its failures become ``UsageError``.

    Attributes:
        name: such as ``oracle:transform``.
        folder: searched for modules before ``sys.path``.
        what: name of the function in error messages.
    """

    name: str
    folder: Path
    what: str

    def __post_init__(self) -> None:
        function = named(self.name, self.folder, self.what)
        if not callable(function):
            raise UsageError(f"{self.what} {self.name!r} is a {type(function).__name__}, not a function")

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Args:
            arguments: passed to it.

        Returns:
            Its result.

        Raises:
            UsageError: if it fails.
        """
        function = named(self.name, self.folder, self.what)
        try:
            return function(*arguments)
        except FAILURES as error:
            raise UsageError(f"{self.what} {self.name!r} failed: {type(error).__name__}: {error}") from error
