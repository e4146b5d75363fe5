"""Who watches a case: told each stage's result as soon as it is there."""

from typing import Any, Protocol


class Watch(Protocol):
    """Receives the results of a case's stages, in order; those read back on resuming too."""

    def stage(self, name: str, result: Any) -> None:
        """A stage is finished: ``located``, ``audit``, ``plan``, ``attempt``."""


class NoListener:
    """Nobody watches."""

    def stage(self, name: str, result: Any) -> None:
        """Ignore the result."""
