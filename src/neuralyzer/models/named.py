"""What ``module:attribute`` names, the uvicorn convention: recipes and functions of a person's own."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
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
    place = str((folder or Path()).absolute())
    if place not in sys.path:
        sys.path.insert(0, place)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} {name!r}: no module {error.name!r} can be imported from here") from error
    except FAILURES as error:
        raise UsageError(f"{what} {name!r}: importing {module} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{what} {name!r}: {module} has no {attribute}")
        found = getattr(found, part)
    return found


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
