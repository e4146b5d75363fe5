"""How far a case is, and what glows: never green for anything but a verdict that holds."""

import itertools

import pytest

from neuralyzer.service import history
from neuralyzer.service.pages import way
from neuralyzer.service.settings import Approve
from neuralyzer.service.states import State
from tests.service.dashboard import Story


def told(world, story, approve=Approve.NEVER):
    events = history.happened(world.service.requests.database, story.id)
    request = world.service.requests.get(story.id)
    return request, way.stops(request, events, approve)


def marks(stops):
    return " ".join({"done": "x", "now": ">", "next": "?", "ahead": "."}[stop.state] for stop in stops)


def test_the_rail_fills_stop_by_stop(world):
    story = Story(world)
    seen = [marks(told(world, story, Approve.BEFORE_UNLEARN)[1])]
    for act in (story.prepare, story.audit, story.plan, lambda: story.unlearn(2), story.judge, story.release):
        act()
        seen.append(marks(told(world, story, Approve.BEFORE_UNLEARN)[1]))
    assert seen == [
        "x ? . . . . . . .",
        "x x > . . . . . .",
        "x x x > . . . . .",
        "x x x x ? . . . .",
        "x x x x x > . . .",
        "x x x x x x x x ?",
        "x x x x x x x x x",
    ]
    assert [stop.name for stop in told(world, story, Approve.BEFORE_UNLEARN)[1]] == [
        "received", "located", "audited", "planned", "approved", "unlearned", "verified", "certified", "released"]  # fmt: skip


def test_approval_stands_where_it_is_needed(world):
    story = Story(world).through()
    names = {approve: [stop.name for stop in told(world, story, approve)[1]] for approve in Approve}
    assert names[Approve.BEFORE_RELEASE][-2:] == ["approved", "released"] and "approved" not in names[Approve.NEVER]
    assert marks(told(world, story, Approve.BEFORE_RELEASE)[1]) == "x x x x x x x ? ."
    assert marks(told(world, story)[1]) == "x x x x x x x ?"


def test_what_was_approved_stays_so_when_a_person_is_needed(world):
    story = Story(world).prepare().audit().plan().unlearn(3).judge("inconclusive", State.NEEDS_PERSON)
    assert marks(told(world, story, Approve.BEFORE_UNLEARN)[1]) == "x x x x x x x x ?"
    story = Story(world, "Noor Haddad").prepare().audit().plan()
    story.requests.note(story.id, "approved", {"what": "unlearn"}, approved="unlearn")
    assert marks(told(world, story, Approve.BEFORE_UNLEARN)[1]) == "x x x x x ? . . ."


def test_a_stage_that_is_told_again_was_reached_the_first_time(world):
    story = Story(world).prepare()
    first = told(world, story)[1][1].moment
    story.requests.show([story.id], "located", {"rows": 72, "datasets": 2})
    assert told(world, story)[1][1].moment == first is not None


def test_the_step_is_shown_until_something_comes_after_it(world):
    story = Story(world).prepare().audit().plan().unlearn(5)
    database = world.service.requests.database

    def step():
        return way.step(history.happened(database, story.id), history.moved(database, story.id, 0))

    assert step() == ("influence: pass 2", 5, 5)
    story.judge()
    assert step() is None


def test_work_that_begins_anew_empties_the_rail(world):
    story = Story(world).prepare().audit().plan().unlearn(3).judge("not forgotten", State.NEEDS_PERSON)
    assert marks(told(world, story)[1]) == "x x x x x x x ?"
    world.service.requests.move([story.id], State.RECEIVED, "taken up again", case=None, batch=None)
    request, stops = told(world, story)
    assert marks(stops) == "x ? . . . . . ." and way.tone(request) == "red"
    story.prepare()
    assert marks(told(world, story)[1]) == "x x > . . . . ."


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [("forgotten", "green"), ("not forgotten", "red"), ("inconclusive", "amber"), ("untraceable", "steel")],
)
def test_the_glow_is_the_verdicts(world, verdict, tone):
    story = Story(world)
    for act in (story.prepare, story.audit, story.plan, lambda: story.unlearn(2)):
        assert way.tone(told(world, story)[0]) == "red"
        act()
    story.judge(verdict)
    assert way.tone(told(world, story)[0]) == tone
    story.release()
    assert way.tone(told(world, story)[0]) == tone


def test_an_earlier_verdict_does_not_glow(world):
    story = Story(world).through().release()
    world.service.requests.change([])
    requests = world.service.requests
    requests.move([story.id], State.RECEIVED, "rolled back")  # the rows are in the model again
    assert requests.get(story.id).verdict == "forgotten" and way.tone(requests.get(story.id)) == "red"
    story.prepare()
    requests.move([story.id], State.NEEDS_PERSON, "failed", case=None)
    assert way.tone(requests.get(story.id)) == "red"
    requests.move([story.id], State.CANCELLED, "cancelled", case=story.case)
    assert way.tone(requests.get(story.id)) == "off"


def test_every_state_is_told():
    assert set(way.TOLD) == set(way.FAR) == set(State)


def test_an_unknown_verdict_is_never_green(world):
    story = Story(world).through("something new")
    assert way.tone(told(world, story)[0]) == "amber"


def test_a_request_answered_before_has_a_short_way(world):
    story = Story(world)
    case = {"case": story.case, "verdict": "forgotten"}
    world.service.requests.move([story.id], State.DONE, "answered before", case, **case)
    request, stops = told(world, story)
    assert [stop.name for stop in stops] == ["received", "answered by an earlier case"] and way.tone(request) == "green"


def test_what_is_told_again_stands_in_the_record_once(world):
    story, requests = Story(world).prepare(), world.service.requests
    for _ in range(3):
        requests.show([story.id], "located", {"rows": 72, "datasets": 2})
    requests.show([story.id], "located", {"rows": 73, "datasets": 2})
    kinds = [event.kind for event in way.record(history.happened(requests.database, story.id))]
    assert kinds == ["received", "preparing", "located", "located"]
    requests.move([story.id], State.RECEIVED, "failed")
    story.prepare()
    kinds = [event.kind for event in way.record(history.happened(requests.database, story.id))]
    assert kinds[4:] == ["failed", "preparing", "located"]


def lines(*moves):
    """Lines of losses, from forget, retained and holdout losses."""
    from neuralyzer.service.request import Event

    facts = [dict(zip(way.LOSSES, move, strict=False)) | {"step": "s", "done": 1, "total": 2} for move in moves]
    return way.losses([Event(n, "r", "", "progress", one) for n, one in enumerate(facts)])


def points(line):
    return [tuple(map(float, pair.split(","))) for pair in line.points.split()]


def test_the_losses_are_drawn_on_one_scale():
    found = {line.name: line for line in lines((0.0, 0.5, 2.0), (1.0, 0.5, 2.0), (2.0, 0.25, 2.0))}
    assert list(found) == ["forget", "retained", "holdout"]
    assert points(found["forget"]) == [(0, 176), (300, 91), (600, 6)]
    assert points(found["holdout"]) == [(0, 6), (300, 6), (600, 6)] and found["retained"].last == 0.25
    assert (
        points(found["retained"]) == [(0, 133.5), (300, 133.5), (600, 154.8)] or points(found["retained"])[2][1] > 150
    )


def test_losses_without_a_holdout_of_one_moment_and_of_none():
    assert [line.name for line in lines((1.0, 0.5))] == ["forget", "retained"]
    assert points(lines((1.0, 0.5))[0]) == [(0, 6), (600, 6)]
    assert lines() == [] and way.losses([]) == [] and way.step([], []) is None
    assert points(lines((0.0, 0.0, 0.0))[0]) == [(0, 176), (600, 176)]


def test_many_figures_become_as_many_points_as_can_be_seen():
    drawn = points(lines(*((n / 5000, 0.1, 1.0) for n in range(5000)))[0])
    assert len(drawn) == way.POINTS and drawn[0] == (0, 176) and drawn[-1][0] == 600
    assert all(before[1] >= after[1] for before, after in itertools.pairwise(drawn))


def test_figures_of_an_earlier_run_are_left_out(world):
    story = Story(world).prepare().audit().plan().unlearn(5)
    world.service.requests.move([story.id], State.RECEIVED, "failed")
    story.prepare()
    database = world.service.requests.database
    request, events = world.service.requests.get(story.id), history.happened(database, story.id)
    assert history.moved(database, story.id, way.present(request, events)[0].number) == []
    assert len(history.moved(database, story.id, 0)) == 5 and len(history.moved(database, story.id, 0, limit=3)) == 3
    assert [event.facts["done"] for event in history.moved(database, story.id, 0, limit=3)] == [3, 4, 5]
