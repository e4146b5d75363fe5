"""Arrow keys among a plan's options."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from neuralyzer.cli.choose import choose
from neuralyzer.data.request import Guarantee
from neuralyzer.planning.options import Option
from neuralyzer.planning.plan import Plan

PLAN = Plan(
    (
        Option("influence", Guarantee.STRONG, 1.5, 0.06, 0.95, True, "expected to leave 6 %", chosen=True),
        Option("retrain", Guarantee.EXACT, 20.0, 0.0, 0.96, False, "over the budget of 4.00 s"),
        Option("sisa", Guarantee.EXACT, None, 0.0, None, False, "no shards"),
        Option("finetune", Guarantee.WEAK, 9.0, 0.95, 0.95, False, "is known to leave about 95 % of the trace"),
    ),
    4.0, "the least expected trace", 0.95, None,
)  # fmt: skip
DOWN, UP, ENTER = "\x1b[B", "\x1b[A", "\r"


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ([ENTER], "influence"), ([DOWN, ENTER], "retrain"), ([DOWN, DOWN, ENTER], "finetune"), ([UP, ENTER], "finetune"),
        ([DOWN, UP, ENTER], "influence"), ([DOWN, "x", "\n"], "retrain"), ([DOWN, "\x1b"], "influence"), (["j", "q"], "influence"),
    ],
)  # fmt: skip
def test_keys(keys, taken):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    assert choose(PLAN, console, iter(keys).__next__) == taken


def test_what_the_choice_costs_is_said_before_it_is_taken():
    screen = io.StringIO()
    choose(PLAN, Console(file=screen, force_terminal=True, width=300), iter([DOWN, DOWN, ENTER]).__next__)
    assert "finetune: 9.00 s, 95 % of the trace left" in screen.getvalue()
    assert "sisa" in screen.getvalue(), "what is not possible is shown and passed over"


def test_the_persons_choice_is_marked_and_its_reason_kept():
    own = PLAN.chosen_by_person("finetune")
    assert own.chosen.method == "finetune" and [o.method for o in own.options] == [o.method for o in PLAN.options]
    assert "would have taken influence (1.50 s, 6 % of the trace left)" in own.note
    assert "the plan would not have: is known to leave about 95 %" in own.note
    assert PLAN.chosen_by_person("influence") is PLAN
    assert replace(PLAN, note="").chosen.method == "influence"
