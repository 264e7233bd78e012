"""Workers for which no worktree can be prepared."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from coord.times import SECOND
from coord_coordinator import dispatch
from coord_integrator.service import IntegratorService

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, spec
from tests.integrator_rig import make_repository
from tests.serving import Clock, served


async def test_a_worker_is_left_alone_twice_as_long_each_time_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_UNREADY_S_MAX", 6.0)
    tries, fixed, clock = tmp_path / "tries", tmp_path / "fixed", Clock()
    setup = f"echo >>{tries}; test -e {fixed}"
    flags: dict[str, dict[str, Any]] = {
        "coordinator": FLAGS["coordinator"] | {"repository": True},
        "integrator": {
            "repo": str(make_repository(tmp_path / "project")),
            "no_check": True,
            "setup": setup,
        },
    }
    services = (*SERVICES, IntegratorService)
    async with served(services, tmp_path / "state", "grpc", clock, flags) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a"))
        for number, wait_s in enumerate((2, 4, 6, 6), 1):
            await _until_tried(fleet, tries, number)
            clock.pass_ns(wait_s * SECOND - 1)
            assert await fleet.why("a") == ["SETUP_FAILED"]
            if number == 4:
                fixed.touch()
            clock.pass_ns(1)
            await fleet.add(spec(f"look-{number}", "a"))
        assert ref(await worker.hear("assigned")).task_id == "a"


async def _until_tried(fleet: Fleet, tries: Path, number: int) -> None:
    async with asyncio.timeout(20):
        while not tries.exists() or len(tries.read_text()) < number:
            await asyncio.sleep(0.02)
    await fleet.until_held("a", "SETUP_FAILED")
