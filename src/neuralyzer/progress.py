"""How long steps tell the person who watches what they are doing."""

from typing import Protocol


class Progress(Protocol):
    """Receives what a long step does; the terminal, a log or nothing may stand behind it."""

    def start(self, step: str, total: int) -> None:
        """Begin a step of ``total`` units of work, named in the person's words."""

    def advance(self, amount: int = 1) -> None:
        """Say that ``amount`` units of the current step are done."""

    def show(self, **values: float) -> None:
        """Show figures that move during the step, such as ``forget=2.1`` (mean losses)."""

    def finish(self) -> None:
        """End the current step."""


class Silent:
    """A progress that shows nothing."""

    def start(self, step: str, total: int) -> None:
        """Ignore the step."""

    def advance(self, amount: int = 1) -> None:
        """Ignore the work done."""

    def show(self, **values: float) -> None:
        """Ignore the figures."""

    def finish(self) -> None:
        """Ignore the end."""
