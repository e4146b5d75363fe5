"""The progress of long steps, as it is shown to the user."""

import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """A receiver of the progress of long steps: a terminal, a log or nothing."""

    def start(self, step: str, total: int) -> None:
        """Begin a step of ``total`` units of work, described in ``step``."""

    def advance(self, amount: int = 1) -> None:
        """Advance the current step by ``amount`` units."""

    def show(self, **values: float) -> None:
        """Show figures that change during the step, such as ``forget=2.1`` (mean losses)."""

    def finish(self) -> None:
        """Finish the step."""


class Silent:
    """A progress and a listener of a case that show nothing."""

    def say(self, text: str) -> None:
        """Ignore the heading."""

    def stage(self, name: str, result: Any) -> None:
        """Ignore the stage's result."""

    def start(self, step: str, total: int) -> None:
        """Ignore the step."""

    def advance(self, amount: int = 1) -> None:
        """Ignore the work done."""

    def show(self, **values: float) -> None:
        """Ignore the figures."""

    def finish(self) -> None:
        """Ignore the end."""


class Terminal:
    """A progress that Rich draws: one bar per step, with figures beside it.

    Args:
        console: a ``rich.console.Console``; if it is no terminal, one line per finished step is printed.
    """

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.console = console
        self._columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bars: Progress | None = None
        self._make = Progress
        self._step, self._figures, self._began, self._shown = "", "", 0.0, 0.0

    def start(self, step: str, total: int) -> None:
        """Draw a new bar."""
        self.finish()
        self._step, self._figures, self._began = step, "", time.perf_counter()
        if self.console.is_terminal:
            self._bars = self._make(*self._columns, console=self.console)
            self._bars.start()
            self._task = self._bars.add_task(step, total=max(total, 1), figures="")

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        if self._bars is not None:
            self._bars.advance(self._task, amount)

    def show(self, **values: float) -> None:
        """Put mean losses or other figures beside the bar."""
        self._figures = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        if len(values) > 1:
            self._figures = "loss: " + self._figures
        if self._bars is not None:
            self._bars.update(self._task, figures=self._figures)

    def finish(self) -> None:
        """Leave the bar as it is, or print its line."""
        if self._bars is not None:
            done = self._bars.tasks[0]
            self._bars.update(self._task, completed=done.total)
            self._bars.stop()
            self._bars = None
        elif self._step and not self.console.is_terminal:
            seconds = time.perf_counter() - self._began
            self.console.print(f"{self._step}: {seconds:.1f} s  {self._figures}".rstrip(), highlight=False)
        self._step = ""
