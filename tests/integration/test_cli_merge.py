"""`coord merge`."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.cli_project import Project
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(120)


async def waiting(project: Project) -> int:
    _, output = await project.call("merge", "status", "--json")
    return int(json.loads(output)["merge_queue"].get("waiting", 0))


async def test_the_merge_queue_is_paused_looked_at_and_let_go_on(tmp_path: Path) -> None:
    project, go = Project(tmp_path), tmp_path / "go"
    plan = project.plan('id = "a"', 'id = "b"')
    agent = f"touch $COORD_TASK_ID.txt; until test -e {go}; do sleep 0.05; done"
    async with project.up("--check-slots", "3"):
        run = await project.start("run", plan, "--agent", agent, "--stuck-after", "60")
        await until(lambda: len(list((tmp_path / "state").glob("worktrees/*/[ab].txt"))) == 2)
        assert (await project.call("merge", "pause", "--message", "lunch"))[0] == 0
        go.touch()
        async with asyncio.timeout(60):
            while await waiting(project) < 2:
                await asyncio.sleep(0.05)
        _, status = await project.call("merge", "status")
        _, first = await project.call("merge", "first", "b")
        _, explained = await project.call("merge", "explain", "b")
        _, task = await project.call("task", "explain", "b")
        unknown = await project.call("merge", "explain", "nobody")
        assert (await project.call("merge", "resume"))[0] == 0
        await run.communicate()
        _, landed = await project.call("merge", "explain", "b", "--json")

    assert "merging is paused: lunch" in status
    assert "0 of 3 slots busy" in status
    assert "goes first" in first
    assert "number 1 in line" in explained
    assert "PAUSED: lunch" in explained
    assert "merging is paused: lunch; it goes on with `coord merge resume`" in task
    assert unknown[0] == 2
    assert "nobody" in unknown[1]
    assert json.loads(landed)["change"]["state"] == "CHANGE_STATE_LANDED"
