"""Due dates and batches, against dates counted by hand and against every order of requests."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as some

from neuralyzer.service.deadlines import EXTENDED, ROOM, Waiting, begins, due, next_batch

NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def one(name, received=NOON, days=30, **more):
    return Waiting(name, received, (received + days * DAY).date(), **more)


@pytest.mark.parametrize(
    ("received", "months", "day"),
    [
        ("2026-01-15", 1, "2026-02-15"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-12-31", 1, "2027-01-31"),
        ("2026-08-31", EXTENDED, "2026-11-30"),
        ("2026-11-30", EXTENDED, "2027-02-28"),
    ],
)
def test_a_period_of_months_ends_on_the_same_day_or_the_last_of_the_month(received, months, day):
    assert due(dt.date.fromisoformat(received), months) == dt.date.fromisoformat(day)


def test_without_days_of_batches_each_has_a_run_of_its_own_the_first_due_first():
    waiting = [one("b", days=20), one("a", days=10), one("c", days=30)]
    assert next_batch(waiting, NOON, 0, 60) == ["a"]


def test_requests_wait_for_others_and_then_share_a_run():
    waiting = [one("a"), one("b", NOON + DAY), one("c", NOON + 2 * DAY)]
    assert next_batch(waiting, NOON + 2 * DAY, 5, 60) == []
    assert next_batch(waiting, NOON + 5 * DAY, 5, 60) == ["a", "b", "c"]


def test_one_that_is_due_much_later_waits_for_another_run():
    waiting = [one("a", days=10), one("b", days=14), one("c", days=16)]
    assert next_batch(waiting, NOON + 5 * DAY, 5, 60) == ["a", "b"]


def test_a_due_date_that_comes_nearer_ends_the_waiting():
    seconds = 3600.0
    waiting = [one("a", days=1)]
    end = dt.datetime.combine(waiting[0].due, dt.time.max, dt.UTC)
    last = end - dt.timedelta(seconds=ROOM * seconds)
    assert begins(waiting, 7, seconds) == last
    assert next_batch(waiting, last - dt.timedelta(minutes=1), 7, seconds) == []
    assert next_batch(waiting, last, 7, seconds) == ["a"]


def by_definition(waiting, now, days, seconds):
    """The batch that is told of in words: each request in turn as the first, with all that share its run."""
    for first in sorted(waiting, key=lambda one: (-one.priority, not one.alone, one.due, one.received, one.id)):
        last = first.due + days * DAY
        others = {
            one.id: one
            for one in waiting
            if days and not first.alone and not one.alone and one.kind == first.kind and one.due <= last
        }
        together = others | {first.id: first}
        if first.alone or first.priority > 0 or begins(list(together.values()), days, seconds) <= now:
            return set(together)
    return set()


@given(
    some.lists(
        some.builds(
            lambda received, days, kind, priority, alone: {
                "received": NOON + received * DAY / 4, "days": days, "kind": kind, "priority": priority, "alone": alone,
            },
            some.integers(0, 40), some.integers(1, 40), some.sampled_from(["", "near"]), some.integers(-1, 1),
            some.booleans(),
        ),
        max_size=8,
    ),
    some.integers(0, 80),
    some.sampled_from([0, 3, 7]),
)  # fmt: skip
def test_a_batch_is_what_its_definition_says(waiting, quarters, days):
    requests = [one(f"r{place}", **values) for place, values in enumerate(waiting)]
    now = NOON + quarters * DAY / 4
    assert set(next_batch(requests, now, days, 3600.0)) == by_definition(requests, now, days, 3600.0)


@pytest.mark.parametrize("urgent", [{"priority": 1}, {"alone": True}])
def test_a_priority_and_a_failure_in_company_do_not_wait(urgent):
    waiting = [one("a"), one("b", days=40, **urgent)]
    chosen = next_batch(waiting, NOON, 7, 60)
    assert chosen == (["b"] if "alone" in urgent else ["b", "a"])


def test_kinds_that_cannot_share_a_run_do_not():
    waiting = [one("a"), one("b", kind="near"), one("c")]
    assert next_batch(waiting, NOON + 9 * DAY, 7, 60) == ["a", "c"]


requests = some.lists(
    some.tuples(some.integers(0, 40), some.integers(1, 60), some.sampled_from([0, 0, 1]), some.booleans()),
    min_size=1, max_size=12,
)  # fmt: skip


@given(requests, some.floats(0, 10), some.floats(1, 1e6), some.integers(0, 60))
def test_nothing_is_chosen_twice_and_nothing_that_is_due_is_left_to_wait(drawn, days, seconds, now):
    waiting = [
        one(str(k), NOON + came * DAY, due_in, priority=priority, alone=alone)
        for k, (came, due_in, priority, alone) in enumerate(drawn)
    ]
    moment = NOON + now * DAY
    chosen = next_batch(waiting, moment, days, seconds)
    assert len(set(chosen)) == len(chosen)
    if days == 0:
        assert len(chosen) <= 1
    if any(begins([request], days, seconds) <= moment for request in waiting):
        assert chosen
    by_id = {request.id: request for request in waiting}
    if len(chosen) > 1:
        assert not any(by_id[name].alone for name in chosen)
        first = by_id[chosen[0]]
        assert all((by_id[name].due - first.due).days <= days for name in chosen)
