"""`coord task explain` tells of each worker whether it could have a task."""

import asyncio
import json
from pathlib import Path

import coord
from coord.identity import Identity

from tests.integration.cli_project import Project


async def test_a_worker_that_does_not_fit_is_told_with_why(tmp_path: Path) -> None:
    project = Project(tmp_path)
    async with project.up():
        printed = json.loads((await project.call("token", "mine", "--json"))[1])
        worker = coord.Worker(Identity.from_environment(printed), runs=["other"])
        worker.handler(_nothing)
        serving = asyncio.create_task(worker.serve())
        await project.call("task", "add", "Do it", "--id", "x", "--label", "run=mine")
        async with asyncio.timeout(60):
            while "OTHER_RUN" not in (told := (await project.call("task", "explain", "x"))[1]):
                await asyncio.sleep(0.1)
        worker.stop()
        await serving
    assert "workers, as capability ranks them:" in told
    assert "mine takes tasks of run other alone" in told


async def _nothing(_: coord.Task) -> None:
    pass
