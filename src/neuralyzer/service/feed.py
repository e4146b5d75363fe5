"""``Feed``: tells the streams of one process which requests have new events, and asks the database once for all."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CancelScope
from fastapi.concurrency import run_in_threadpool

from neuralyzer.service.requests import Requests

log = logging.getLogger("neuralyzer.service")
EVERY = 0.5  # seconds between two questions to the database


class Feed:
    """Waits for events while somebody listens.

    Args:
        requests: whose events.
        every: seconds between two questions to the database.
    """

    def __init__(self, requests: Requests, every: float = EVERY) -> None:
        self._requests, self._every = requests, every
        self._listening: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._asking: tuple[asyncio.Task[None], asyncio.Event] | None = None  # and the event that ends it

    @property
    def streams(self) -> int:
        """Return how many listen."""
        return sum(map(len, self._listening.values()))

    @asynccontextmanager
    async def listening(self, request: str) -> AsyncIterator[asyncio.Event]:
        """Listen for a request's events.

        Args:
            request: its id.

        Yields:
            An event that is set when there may be a new one; the task that waits clears it.
        """
        news = asyncio.Event()
        self._listening[request].add(news)
        if self._asking is None:
            over = asyncio.Event()
            self._asking = asyncio.create_task(self._ask(over)), over
        try:
            yield news
        finally:
            self._listening[request].discard(news)
            if not self._listening[request]:
                del self._listening[request]
            if not self._listening:
                (task, over), self._asking = self._asking, None
                over.set()
                with CancelScope(shield=True):  # a question under way gives its connection back
                    await task

    async def _ask(self, over: asyncio.Event) -> None:
        newest: int | None = None
        while not over.is_set():
            try:
                newest = await self._tell(newest)
            except Exception as error:  # noqa: BLE001  it is asked again; what lasts, each stream finds itself
                log.error("streams wait: the database gives a %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._every)

    async def _tell(self, newest: int | None) -> int:
        """Wake those whose requests have events after the newest known one, and return the newest one."""
        if newest is None:
            last, told = await run_in_threadpool(self._requests.newest), list(self._listening)
        else:
            new = await run_in_threadpool(self._requests.events, None, newest)
            last, told = (new[-1].number if new else newest), [event.request for event in new]
        for request in told:
            for news in self._listening.get(request, ()):
                news.set()
        return last
