"""A pause of merging that the disk refuses."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from coord.errors import CoordError
from coord.v1 import integrator_pb2
from coord_integrator.merge_calls import MergeCalls
from coord_integrator.settings import IntegratorSettings
from coord_runtime.migrations import store_failed
from coord_runtime.tokens import Kind, Principal


class _Queue:
    """Tells of each step."""

    def __init__(self) -> None:
        self.stepped = asyncio.Event()

    async def step(self) -> bool:
        self.stepped.set()
        return False


async def _refuse(by: str, message: str) -> None:
    del by, message
    raise store_failed("the disk is full")


async def _nothing() -> None:
    """There is nothing to hand over or to bring along."""


async def test_what_the_disk_refuses_to_pause_goes_on() -> None:
    queue = _Queue()
    rooms: Any = SimpleNamespace(
        merging=SimpleNamespace(
            lander=SimpleNamespace(bring_along=_nothing),
            pauses=SimpleNamespace(hold=_refuse, passed=_nothing),
            queue=queue,
            slots=SimpleNamespace(when_ended=lambda _: None),
        ),
        lost_work=SimpleNamespace(see_to=_nothing),
        reporter=None,
        submissions=SimpleNamespace(hand_over_rest=_nothing),
    )
    calls = MergeCalls(rooms, IntegratorSettings(repo=Path()))
    calls._merging.start()
    request = integrator_pb2.PauseMergingRequest(project="p")
    call: Any = SimpleNamespace(principal=Principal(Kind.OPERATOR, "op", "p"))
    with pytest.raises(CoordError, match="the disk is full"):
        await calls.pause_merging(request, call)
    queue.stepped.clear()
    calls._merging.wake()
    async with asyncio.timeout(60):
        await queue.stepped.wait()
    await calls._merging.stop()
