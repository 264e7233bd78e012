"""Calls of many workers as few: what comes while a call is under way goes with the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_MAX = 1_000


class Batches(Generic[Item, Result]):
    """Sends items in batches, one batch at a time, and gives each its result.

    Args:
        send: Answers a batch of at most 1,000 items with a result for each, in order. What it
            raises is raised to all of them.
    """

    def __init__(self, send: Callable[[list[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._send = send
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """Send an item with the next batch; return its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return await future

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_ITEMS_MAX], self._waiting[_ITEMS_MAX:]
            futures = [future for _, future in batch]
            try:
                results = await self._send([item for item, _ in batch])
            except BaseException as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for future, result in zip(futures, results, strict=True):
                if not future.done():
                    future.set_result(result)
        self._sending = None
