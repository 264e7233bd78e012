"""Loops that run beside the calls."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from coord.errors import CoordError

from coord_integrator.git import GitError

_RETRY_S = 2.0

log = structlog.get_logger(__name__)


class Loop:
    """Repeats a step: at once when woken, else after the seconds that the step asks for.

    A step that fails is logged and tried again: a loop ends only by `stop`.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[float]]) -> None:
        self._name = name
        self._step = step
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Take the next step at once, or after the one under way."""
        self._wake.set()

    async def stop(self) -> bool:
        """End, after what the step does when it is cancelled; tell whether it ran."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return True

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            delay_s = await self._safe_step()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()

    async def _safe_step(self) -> float:
        try:
            return await self._step()
        except (CoordError, GitError, OSError) as error:
            log.warning("step failed", loop=self._name, why=str(error))
        except Exception:
            # A loop that ends would stop the service's work without a word.
            log.exception("step failed in a way that it should not", loop=self._name)
        return _RETRY_S
