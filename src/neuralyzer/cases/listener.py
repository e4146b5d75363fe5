"""The listener of a case, which receives each stage's result."""

from typing import Any, Protocol


class CaseListener(Protocol):
    """A listener that receives the results of a case's stages in order, also of those read back on resuming."""

    def stage(self, name: str, result: Any) -> None:
        """Receive a finished stage's result: ``located``, ``audit``, ``plan``, ``attempt``, ``answers``."""
