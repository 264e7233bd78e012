"""Workers for which no worktree can be prepared."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from coord.times import SECOND
from coord_coordinator import delivery
from coord_integrator.service import IntegratorService

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, spec
from tests.integrator_rig import make_repository
from tests.serving import Clock, served


async def test_a_worker_is_left_alone_twice_as_long_each_time_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So short that the dispatch, which waits by the real clock, looks again soon by itself.
    monkeypatch.setattr(delivery, "_UNREADY_S", 0.2)
    monkeypatch.setattr(delivery, "_UNREADY_S_MAX", 0.6)
    tries, clock = tmp_path / "tries", Clock()
    flags: dict[str, dict[str, Any]] = {
        "coordinator": FLAGS["coordinator"] | {"repository": True},
        "integrator": {
            "repo": str(make_repository(tmp_path / "project")),
            "no_check": True,
            "setup": f"echo >>{tries}; false",
        },
    }
    services = (*SERVICES, IntegratorService)
    async with served(services, tmp_path / "state", "grpc", clock, flags) as running:
        fleet = Fleet(running)
        await fleet.worker("w")
        await fleet.add(spec("a"))
        for number, wait_ms in enumerate((200, 400, 600, 600), 1):
            await _until_tried(fleet, tries, number)
            clock.pass_ns(wait_ms * SECOND // 1_000 - 1)
            assert await fleet.why("a") == ["SETUP_FAILED"]
            clock.pass_ns(1)
        await _until_tried(fleet, tries, 5)


async def _until_tried(fleet: Fleet, tries: Path, number: int) -> None:
    async with asyncio.timeout(60):
        while not tries.exists() or len(tries.read_text()) < number:
            await asyncio.sleep(0.02)
    await fleet.until_held("a", "SETUP_FAILED")
