"""Changes whose work is gone from Coord's own repository, and what becomes of them."""

import shutil
from pathlib import Path

from coord.v1 import integrator_pb2, queue_pb2

from tests.integrator_rig import git, park, rig_at, running

LANDED = integrator_pb2.CHANGE_STATE_LANDED
REJECTED = integrator_pb2.CHANGE_STATE_REJECTED


async def test_a_change_whose_work_is_gone_ends_and_the_others_land(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    own = tmp_path / "state" / "integrator" / "repo.git"
    async with running(rig):
        park(rig.repo)
        await rig.pause()
        gone = await rig.work("w1", "gone", {"b.txt": "b\n"})
        await rig.work("w2", "there", {"c.txt": "c\n"})
        await rig.stop()
        for repository in (own, rig.repo):
            git(repository, "update-ref", "-d", gone.wip_ref)
            git(repository, "gc", "-q", "--prune=now")
        await rig.start()
        await rig.resume()
        there, gone = await rig.ended("there"), await rig.ended("gone")
        task = await rig.reported("gone", queue_pb2.TASK_STATE_PENDING)

    assert (there.state, gone.state) == (LANDED, REJECTED)
    assert gone.message.startswith(f"its work, commit {gone.head_commit[:10]}, is gone")
    assert task.attempts[-1].message == gone.message
    assert task.attempts[-1].reason == queue_pb2.FAILURE_REASON_RELEASED


async def test_a_task_whose_change_was_deleted_with_the_integrators_state_is_given_out_again(
    tmp_path: Path,
) -> None:
    rig = rig_at(tmp_path)
    async with running(rig):
        await rig.pause()
        change = await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.stop()
        shutil.rmtree(tmp_path / "state" / "integrator")
        await rig.start()
        task = await rig.reported("t", queue_pb2.TASK_STATE_PENDING)
        again = await rig.work("w1", "t", {"b.txt": "b\n"})
        landed = await rig.ended("t")

    assert task.attempts[-1].message == (
        "the merge queue has lost its change: the integrator's state was deleted;"
        f" its work is kept under {change.wip_ref}"
    )
    assert (landed.change_id, landed.state) == (again.change_id, LANDED)


async def test_work_that_coord_has_lost_is_fetched_from_the_users_repository(
    tmp_path: Path,
) -> None:
    rig = rig_at(tmp_path)
    async with running(rig):
        park(rig.repo)
        await rig.pause()
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.stop()
        shutil.rmtree(tmp_path / "state" / "integrator" / "repo.git")
        await rig.start()
        await rig.resume()
        change = await rig.ended("t")

    assert change.state == LANDED
    assert git(rig.repo, "show", "main:b.txt") == "b"
