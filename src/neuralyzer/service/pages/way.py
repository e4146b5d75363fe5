"""The way of a case, from its request and its events: how far it is, what glows, and what moved."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuralyzer.service.request import Event, Request
from neuralyzer.service.settings import Approve
from neuralyzer.service.states import WORKED_ON, State

STAGES = ("located", "audit", "plan", "attempt", "answers")  # events that tell what a stage found
TONES = {"forgotten": "green", "not forgotten": "red", "inconclusive": "amber", "untraceable": "steel"}
LOSSES = ("forget", "retained", "holdout")  # rows of which the mean losses are told
POINTS = 240  # of a line; it is 600 pixels wide
FAR = {State.RECEIVED: 1, State.PREPARING: 2, State.PLANNED: 3, State.UNLEARNING: 4, State.JUDGED: 5, State.DONE: 6,
       State.NEEDS_PERSON: 0, State.REFUSED: 0, State.CANCELLED: 0}  # of six lights  # fmt: skip
TOLD = {
    State.RECEIVED: "Waits for its turn.",
    State.PREPARING: "The rows are being located, the model is audited, and the options are planned.",
    State.PLANNED: "The plan is made. Unlearning has not begun.",
    State.UNLEARNING: "The model unlearns and is then verified.",
    State.JUDGED: "The verdict is there. The new weights are not in use yet.",
    State.DONE: "Answered. The new weights are in use.",
    State.NEEDS_PERSON: "A person must decide what happens next.",
    State.REFUSED: "Refused. Nothing was changed.",
    State.CANCELLED: "Cancelled. It is not answered.",
}


@dataclass(frozen=True)
class Stop:
    """A stop on the way of a case.

    Attributes:
        name: of the stop.
        state: ``done``, ``now`` for the one that is worked on, ``next`` for the one that is waited for, or ``ahead``.
        moment: when it was reached, ISO 8601; None if it was not, or if that was not written down.
    """

    name: str
    state: str
    moment: str | None


@dataclass(frozen=True)
class Line:
    """A line of a chart in a box of 600 by 180.

    Attributes:
        name: of the rows.
        points: as SVG has them.
        last: the newest value.
    """

    name: str
    points: str
    last: float


def today() -> dt.date:
    """Return the present day in UTC."""
    return dt.datetime.now(dt.UTC).date()


def present(request: Request, events: Sequence[Event]) -> list[Event]:
    """Return the events since the work on a request was last begun; none while it waits for that."""
    if request.state is State.RECEIVED:
        return []
    begun = max((place for place, event in enumerate(events) if event.kind == "preparing"), default=None)
    return [] if begun is None else list(events[begun:])


def record(events: Sequence[Event]) -> list[Event]:
    """Return events without those that only tell again what was told since the work was last begun.

    A run that goes on after a step tells the stages before it once more.
    """
    kept, known = [], list[tuple[str, Mapping[str, Any]]]()
    for event in events:
        if event.kind == "preparing":
            known = []
        if event.kind not in STAGES or (event.kind, event.facts) not in known:
            kept.append(event)
        known.append((event.kind, event.facts))
    return kept


def tone(request: Request) -> str:
    """Return the colour of the glow: of a verdict that holds for the present weights, never of an earlier one."""
    if request.state in (State.CANCELLED, State.REFUSED):
        return "off"
    holds = request.state in (State.JUDGED, State.DONE, State.NEEDS_PERSON) and request.case is not None
    if holds and request.verdict is not None:
        return TONES.get(request.verdict, "amber")
    return "red"  # the model still holds the rows, as far as anybody knows


def awaits(request: Request, approve: Approve) -> bool:
    """Return whether nothing goes on until a person has approved."""
    needed = {Approve.BEFORE_UNLEARN: State.PLANNED, Approve.BEFORE_RELEASE: State.JUDGED}.get(approve)
    return request.state is needed and request.approved is None


def stops(request: Request, events: Sequence[Event], approve: Approve) -> list[Stop]:
    """Return the way of a case.

    Args:
        request: of the case.
        events: what happened to it.
        approve: when a person must approve; that stop is where it is needed, and left out where it never is.

    Returns:
        The stops in order.
    """
    here = present(request, events)
    reached = {event.kind: event.moment for event in reversed(here)}  # what is told again was reached the first time
    judged = request.state in (State.JUDGED, State.DONE) or "judged" in reached
    verified = next((event.moment for event in here if event.kind == "attempt" and event.facts.get("verdict")), None)
    what = {Approve.BEFORE_UNLEARN: "unlearn", Approve.BEFORE_RELEASE: "release"}.get(approve)
    approved = [event.moment for event in here if event.kind == "approved" and event.facts.get("what") == what]
    begun = {Approve.BEFORE_UNLEARN: "unlearning", Approve.BEFORE_RELEASE: "released"}.get(approve) in reached
    agreed = begun or bool(approved) or (what is not None and request.approved == what)
    approval = ("approved", agreed, approved[-1] if approved else None)
    way: list[tuple[str, bool, str | None]] = [("received", True, request.received.isoformat())]
    if request.state is State.DONE and "released" not in reached:
        return [Stop(way[0][0], "done", way[0][2]), Stop("answered by an earlier case", "done", events[-1].moment)]
    way += [(name, kind in reached, reached.get(kind)) for name, kind in (("located", "located"), ("audited", "audit"))]
    way += [("planned", "planned" in reached, reached.get("planned"))]
    way += [approval] if approve is Approve.BEFORE_UNLEARN else []
    way += [
        ("unlearned", judged or "attempt" in reached, reached.get("attempt")),
        ("verified", judged or verified is not None, verified),
        ("certified", judged, reached.get("judged")),
    ]
    way += [approval] if approve is Approve.BEFORE_RELEASE else []
    way += [("released", request.state is State.DONE, reached.get("released"))]
    return _marked(way, request.state)


def _marked(way: Sequence[tuple[str, bool, str | None]], state: State) -> list[Stop]:
    """Mark how far a case is; what follows a stop that is not reached is not reached either."""
    far = next((place for place, (_, done, _) in enumerate(way) if not done), len(way))
    marks = {True: "now" if state in WORKED_ON else "next"}
    if state in (State.CANCELLED, State.REFUSED):
        marks = {}
    return [
        Stop(name, "done" if place < far else marks.get(place == far, "ahead"), moment if place < far else None)
        for place, (name, _, moment) in enumerate(way)
    ]


def step(events: Sequence[Event], moves: Sequence[Event]) -> tuple[str, int, int] | None:
    """Return the step that is worked on, how much of it is done, and of how much; None where something came after it."""
    if not moves or (events and events[-1].number > moves[-1].number):
        return None
    facts = moves[-1].facts
    return str(facts.get("step", "")), int(facts.get("done", 0)), int(facts.get("total", 0))


def losses(moves: Sequence[Event]) -> list[Line]:
    """Return the lines of the losses on forget, retained and holdout rows, drawn on one scale."""
    told = [
        event.facts for event in moves if all(isinstance(event.facts.get(name), float | int) for name in LOSSES[:2])
    ]
    kept = [now for before, now in zip([None, *told], told, strict=False) if before is None or _moved(before, now)]
    kept = (
        [kept[round(place * (len(kept) - 1) / (POINTS - 1))] for place in range(POINTS)] if len(kept) > POINTS else kept
    )
    if not kept:
        return []
    names = [name for name in LOSSES if all(name in facts for facts in kept)]
    top = max(float(facts[name]) for facts in kept for name in names) or 1.0
    across = max(len(kept) - 1, 1)
    lines = []
    for name in names:
        values = [float(facts[name]) for facts in kept]
        values = values * 2 if len(values) == 1 else values
        points = " ".join(f"{600 * x / across:.1f},{176 - 170 * y / top:.1f}" for x, y in enumerate(values))
        lines.append(Line(name, points, values[-1]))
    return lines


def _moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return any(before.get(name) != now.get(name) for name in LOSSES)
