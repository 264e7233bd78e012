"""Keeps the radar looking."""

import asyncio
from contextlib import suppress
from pathlib import Path

from coord_integrator.loops import Loop
from coord_integrator.radar import Radar
from coord_integrator.watching import Changed, Watcher


class RadarLoop:
    """Lets the radar look when something has changed, and now and then.

    Args:
        radar: The radar.
        worktrees: The folder that has the worktrees.
        common_folder: The git folder that all checkouts share.
    """

    def __init__(self, radar: Radar, worktrees: Path, common_folder: Path) -> None:
        self._radar = radar
        self._looking = Loop("radar", radar.step)
        self._watcher = Watcher(worktrees, common_folder / "worktrees", self._changed)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._looking.start()
        self._watching = asyncio.create_task(self._watcher.run(), name="watching")

    def wake(self) -> None:
        """Look at once, since the target or the set of worktrees may be another."""
        self._looking.wake()

    async def stop(self) -> None:
        """End."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        await self._looking.stop()
        await self._radar.close()

    async def _changed(self, changed: Changed) -> None:
        if await self._radar.mark(changed):
            self._looking.wake()
