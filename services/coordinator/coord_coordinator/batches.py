"""Work of many as little: what comes while a batch is under way goes with the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog
from coord.errors import CoordError

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_MAX = 1_000
# Between tries where the disk refuses.
_RETRY_S = 0.5
_CLOSE_S = 1.0

log = structlog.get_logger(__name__)


class Batches(Generic[Item, Result]):
    """Sends items in batches, one batch at a time and in order, and gives each its result.

    Args:
        send: Answers a batch of at most 1,000 items with a result for each, in order. What it
            raises is raised to all of them.
    """

    def __init__(self, send: Callable[[list[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._send = send
        self._waiting: list[tuple[Item, asyncio.Future[Result] | None]] = []
        self._sending: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """Send an item with the next batch; return its result.

        A caller that goes away undoes nothing: the item is sent all the same.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._put(item, future)
        return await future

    def put(self, item: Item) -> None:
        """Send an item with the next batch, whose result nobody waits for."""
        self._put(item, None)

    async def close(self) -> None:
        """Wait a little while for what is on its way."""
        if self._sending is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sending, _CLOSE_S)

    def _put(self, item: Item, future: asyncio.Future[Result] | None) -> None:
        self._waiting.append((item, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_ITEMS_MAX], self._waiting[_ITEMS_MAX:]
            futures = [future for _, future in batch]
            try:
                results = await self._send([item for item, _ in batch])
            except BaseException as error:
                if None in futures:
                    log.exception("what nobody waits for has failed")
                for future in futures:
                    if future is not None and not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for future, result in zip(futures, results, strict=True):
                if future is not None and not future.done():
                    future.set_result(result)
        self._sending = None


async def insist(store: Callable[[], Awaitable[None]], what: str) -> None:
    """Store something until the disk takes it.

    Args:
        store: Stores it.
        what: Its name in the log.
    """
    while True:
        try:
            return await store()
        except CoordError as error:
            log.warning("could not be stored", what=what, error=str(error))
            await asyncio.sleep(_RETRY_S)
