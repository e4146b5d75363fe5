"""``Feed``: tells the streams of one process which requests have new events, and asks the database once for all."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi.concurrency import run_in_threadpool

from neuralyzer.errors import StorageError
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
        self._asking: asyncio.Task[None] | None = None

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
            An event that is set when there may be a new one; whoever waits clears it.
        """
        news = asyncio.Event()
        self._listening[request].add(news)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        try:
            yield news
        finally:
            self._listening[request].discard(news)
            if not self._listening[request]:
                del self._listening[request]  # with the last one the questions end

    async def _ask(self) -> None:
        newest: int | None = None
        try:
            while self._listening:
                try:
                    newest = await self._tell(newest)
                except StorageError:
                    log.error("streams wait: the database does not answer")  # it comes back, or each stream finds out
                await asyncio.sleep(self._every)
        finally:
            self._asking = None

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
