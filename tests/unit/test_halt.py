"""Merging is stopped or not as everything else is, whatever arrives late."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from coord.v1 import common_pb2
from coord_coordinator import halt as module
from coord_coordinator.halt import Halt


class _Services:
    """Notes what the integrator is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.integrator = SimpleNamespace(PauseMerging="pause", ResumeMerging="resume")

    async def insist(self, call: str, request: Any) -> None:
        del request
        self.told.put_nowait(call)


async def test_the_integrator_is_told_again_and_again_how_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEEP_S", 0.001)
    services = _Services()
    fleet: Any = SimpleNamespace(project="p")
    others: Any = SimpleNamespace()
    stubs: Any = services
    halt = Halt(fleet, stubs, others, others, has_repository=True)
    keeping = asyncio.create_task(halt.keep())
    async with asyncio.timeout(60):
        assert [await services.told.get() for _ in range(3)] == ["resume"] * 3
        halt.reason = common_pb2.Reason(code="STOPPED", message="enough")
        while await services.told.get() == "resume":
            pass
        assert await services.told.get() == "pause"
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
