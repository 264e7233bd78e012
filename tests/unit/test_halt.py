"""A stop and its end, while the integrator is slow to answer."""

import asyncio
from types import SimpleNamespace
from typing import Any

from coord_coordinator.halt import Halt


class _Services:
    """Answers a pause of merging only once it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.heard: list[str] = []
        self.integrator = SimpleNamespace(PauseMerging="pause", ResumeMerging="resume")

    async def insist(self, call: str, request: object) -> None:
        del request
        if call == "pause":
            await self.let.wait()
        self.heard.append(call)


class _Store:
    async def set(self, *_: object) -> None:
        """Nothing has to last."""


async def test_a_pause_that_is_long_on_its_way_does_not_outlive_the_stop() -> None:
    services: Any = _Services()
    changed = SimpleNamespace(wake=lambda: None)
    fleet: Any = SimpleNamespace(project="p", workers={}, changed=changed)
    store: Any = _Store()
    reports: Any = None
    halt = Halt(fleet, services, reports, store, has_repository=True)
    stopping = asyncio.create_task(halt.stop("enough"))
    await asyncio.sleep(0.01)
    resuming = asyncio.create_task(halt.resume())
    await asyncio.sleep(0.01)
    services.let.set()
    await asyncio.gather(stopping, resuming)
    assert services.heard == ["pause", "resume"]
    assert halt.reason is None
