"""Waking those who wait for a change."""

import asyncio
from contextlib import suppress


class Wakeups:
    """Counts changes; who has seen fewer does not wait."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    def seen(self) -> int:
        """Return how many changes there were: take it before looking at what may change."""
        return self._count

    def wake(self) -> None:
        """Tell of a change."""
        self._count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seen: int, seconds: float | None = None) -> None:
        """Wait for a change after `seen`, for at most `seconds`."""
        if self._count != seen:
            return
        if seconds is None:
            await self._changed.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
