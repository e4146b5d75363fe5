"""A case's folder: each stage's result is written before the next begins, and read back on resuming."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from neuralyzer.workspace import atomic

Result = TypeVar("Result")


@dataclass(frozen=True)
class Folder:
    """The folder of a case, or of an attempt of it, with the results of its stages."""

    root: Path

    def path(self, name: str) -> Path:
        """Return a file of the folder."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Return whether a stage is finished."""
        return self.path(f"{name}.json").exists()

    def read(self, name: str) -> Any:
        """Return a finished stage's result as plain values."""
        return atomic.read_json(self.path(f"{name}.json"))

    def write(self, name: str, content: Any) -> None:
        """Write a stage's result, which finishes it."""
        atomic.write_json(self.path(f"{name}.json"), content)

    def stage(
        self,
        name: str,
        work: Callable[[], Result],
        to: Callable[[Result], Any],
        of: Callable[[Any], Result],
    ) -> Result:
        """Run a stage, or read its result if it is finished.

        Args:
            name: of the stage and its file.
            work: runs the stage.
            to: turns the result into plain values.
            of: turns plain values into the result.

        Returns:
            The result.
        """
        if self.has(name):
            return of(self.read(name))
        result = work()
        self.write(name, to(result))
        return result
