"""The interactive choice among a plan's options, by arrow keys; each option shows what it costs."""

from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from neuralyzer.planning.plan import Plan

UP, DOWN, ENTER, LEAVE = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j"), ("\r", "\n"), ("\x1b", "q", "\x03")


def choose(plan: Plan, console: Console, key: Callable[[], str]) -> str:
    """Let the user move through the options and choose one.

    Args:
        plan: its own choice is marked first.
        console: a terminal.
        key: waits for the next key and returns its characters.

    Returns:
        The method on which Enter was pressed; the plan's choice if the user left by Escape or ``q``.
    """
    names = [option.method for option in plan.options if option.seconds is not None or option.method == "retrain"]
    place = names.index(plan.chosen.method)
    with Live(_view(plan, names[place]), console=console, auto_refresh=False, transient=True) as live:
        while True:
            pressed = key()
            if pressed in ENTER:
                return names[place]
            if pressed in LEAVE:
                return plan.chosen.method
            place = (place + (pressed in DOWN) - (pressed in UP)) % len(names)
            live.update(_view(plan, names[place]), refresh=True)


def _view(plan: Plan, name: str) -> RenderableType:
    shown = plan if name == plan.chosen.method else plan.chosen_by_person(name)
    keys = Text("up and down choose, Enter takes it, Escape leaves it to the plan", style="bright_black")
    return Group(shown.view(every=True), keys)
