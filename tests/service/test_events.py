"""Streams of events: complete, in order, resumed where they broke off, and gone when their client goes."""

import asyncio
import contextlib
import gc
import json
import threading

import pytest

from neuralyzer.service.api import events as streams
from neuralyzer.service.api.events import told
from neuralyzer.service.feed import Feed
from neuralyzer.service.requests import Requests
from neuralyzer.service.states import State
from tests.service.http import new


def parsed(text):
    """The events of a stream: id, kind and data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def closed(world):
    made = new(world.client())["id"]
    world.service.requests.move([made], State.PREPARING, "preparing", {"batch": "b1"})
    world.service.requests.note(made, "located", {"rows": 8})
    new(world.client(), subjects=["another"])
    world.service.requests.move([made], State.CANCELLED, "cancelled", {"reason": "Anna withdrew it"})
    return made


def test_a_closed_request_tells_all_and_ends(both):
    made = closed(both)
    answer = both.client().get(f"/v1/cases/{made}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = parsed(answer.text)
    assert [kind for _, kind, _ in found] == ["received", "preparing", "located", "cancelled", "closed"]
    numbers = [int(id_) for id_, _, _ in found[:-1]]
    assert numbers == sorted(numbers) and found[1][2]["facts"] == {"batch": "b1"}
    assert all(data["request"] == made for _, _, data in found[:-1])
    assert found[-1][2] == {"state": "cancelled"}


def test_it_goes_on_after_the_last_event_that_was_seen(world):
    made = closed(world)
    whole = parsed(world.client().get(f"/v1/cases/{made}/events").text)
    for place, (last, _, _) in enumerate(whole[:-2]):
        rest = world.client().get(f"/v1/cases/{made}/events", headers={"Last-Event-ID": last})
        assert parsed(rest.text) == whole[place + 1 :]
    seen = world.client().get(f"/v1/cases/{made}/events", headers={"Last-Event-ID": whole[-2][0]})
    assert seen.status_code == 204 and seen.text == ""
    for wrong in ("-1", "abc", "1; drop", "9" * 40):
        assert world.client().get(f"/v1/cases/{made}/events", headers={"Last-Event-ID": wrong}).status_code == 422


def test_free_text_is_hidden_from_readers(world):
    made = closed(world)
    assert "Anna" in world.client().get(f"/v1/cases/{made}/events").text
    for scope in ("read", "approve"):
        assert "Anna" not in world.client(scope).get(f"/v1/cases/{made}/events").text


def listen(world, id_, scope="read", after=0):
    token = world.service.tokens.still(world.token(scope))
    return told(world.service, id_, token, after)


def run(world, follow):
    """Run a client of streams to its end, which must come soon, and leave nothing that listens."""

    async def whole():
        async with asyncio.timeout(20):
            return await follow()

    result = asyncio.run(whole())
    assert world.service.feed.streams == 0 and world.service.feed._asking is None
    return result


def test_events_come_as_they_happen(world):
    made = new(world.client())["id"]

    async def follow():
        kinds = []
        async for part in listen(world, made):
            kinds += [kind for _, kind, _ in parsed(part.decode())]
            if kinds == ["received"]:
                await asyncio.to_thread(world.service.requests.note, made, "located")
            if kinds == ["received", "located"]:
                await asyncio.to_thread(world.service.requests.move, [made], State.CANCELLED, "cancelled")
        return kinds

    assert run(world, follow) == ["received", "located", "cancelled", "closed"]


def test_events_that_another_process_writes_come_too(both):
    made = new(both.client())["id"]
    other = Requests(both.service.settings.database)
    timer = threading.Timer(0.5, other.move, ([made], State.CANCELLED, "cancelled"))

    async def follow():
        timer.start()
        return [kind async for part in listen(both, made) for _, kind, _ in parsed(part.decode())]

    assert run(both, follow) == ["received", "cancelled", "closed"]
    timer.join()
    other.database.close()


def test_a_stream_ends_when_its_token_is_revoked(world, monkeypatch):
    monkeypatch.setattr(streams, "QUIET", 0.05)
    made = new(world.client())["id"]

    async def follow():
        parts = []
        async for part in listen(world, made):
            parts.append(part)
            if len(parts) == 3:
                world.service.tokens.revoke(world.token("read"))
        return parts

    parts = run(world, follow)
    assert len(parts) in (3, 4) and all(part.startswith(b":") for part in parts[1:])


def test_a_stream_of_a_revoked_token_ends_though_events_keep_coming(world, monkeypatch):
    monkeypatch.setattr(streams, "QUIET", 0.2)
    made = new(world.client())["id"]

    async def follow():
        stream = listen(world, made)
        await anext(stream)
        world.service.tokens.revoke(world.token("read"))
        async for _ in stream:
            await asyncio.to_thread(world.service.requests.show, [made], "progress", {"done": 1})
        return True

    assert run(world, follow)


def test_more_events_than_are_read_at_once_all_come(world):
    made = new(world.client())["id"]
    for _ in range(3):
        world.service.requests.show([made] * 700, "progress", {})
    world.service.requests.move([made], State.CANCELLED, "cancelled")
    found = parsed(world.client().get(f"/v1/cases/{made}/events").text)
    assert [kind for _, kind, _ in found].count("progress") == 2100 and found[-1][1] == "closed"


def test_the_loop_is_not_blocked_while_the_database_is_slow(world, monkeypatch):
    made = new(world.client())["id"]
    real, slow = world.service.requests.get, threading.Event()

    def get(_, request):
        slow.wait(2)
        return real(request)

    monkeypatch.setattr(Requests, "get", get)

    async def follow():
        stream = listen(world, made)
        first = asyncio.ensure_future(anext(stream))
        for _ in range(20):  # while get() waits in its thread, the loop turns
            await asyncio.sleep(0.01)
        assert not first.done()
        slow.set()
        assert b"received" in await first
        await stream.aclose()

    run(world, follow)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_500_streams_leave_nothing(world, how):
    made = new(world.client())["id"]
    feed: Feed = world.service.feed

    async def one():
        stream = listen(world, made)
        assert b"received" in await anext(stream)
        if how == "closed":
            await stream.aclose()
            return
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await stream.aclose()

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(50)))
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(50)))
        gc.collect()
        return len(gc.get_objects()) - before

    assert run(world, all_of_them) < 500  # less than one object a stream
    assert feed.streams == 0 and feed._asking is None and not feed._listening


def test_no_more_streams_than_a_process_can_hold(world, monkeypatch):
    made = new(world.client())["id"]
    monkeypatch.setattr(streams, "STREAMS", 0)
    answer = world.client().get(f"/v1/cases/{made}/events")
    assert answer.status_code == 503 and "Retry-After" in answer.headers
