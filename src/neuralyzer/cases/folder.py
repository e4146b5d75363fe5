"""A case's folder: each stage's result is written whole before the next begins, and read back on resuming."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from neuralyzer.workspace import atomic

Result = TypeVar("Result")


@dataclass(frozen=True)
class Folder:
    """Where a case, or an attempt of it, keeps its results."""

    root: Path

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Whether a stage is finished."""
        return self.path(f"{name}.json").exists()

    def read(self, name: str) -> Any:
        """A finished stage's result as plain values."""
        return atomic.read_json(self.path(f"{name}.json"))

    def write(self, name: str, content: Any) -> None:
        """Finish a stage."""
        atomic.write_json(self.path(f"{name}.json"), content)

    def stage(
        self,
        name: str,
        work: Callable[[], Result],
        to: Callable[[Result], Any],
        of: Callable[[Any], Result],
    ) -> Result:
        """Run a stage, or read its result where it is finished.

        Args:
            name: of the stage and its file.
            work: does it.
            to: makes plain values of the result.
            of: makes the result of plain values.

        Returns:
            The result.
        """
        if self.has(name):
            return of(self.read(name))
        result = work()
        self.write(name, to(result))
        return result
