"""What worktrees leave behind, and when it goes: only once it has landed or is kept."""

import asyncio
from pathlib import Path

import grpc
import pytest
from coord.errors import CoordError
from coord.v1 import integrator_pb2
from coord_integrator.sqlite import SqliteIntegratorStore

from tests.integrator_rig import commit, git, rig_at, running, until, write


async def test_a_snapshot_is_put_back_on_the_commit_that_it_was_taken_on(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        first = await rig.begin("w1", "a")
        base = git(first, "rev-parse", "HEAD")
        write(first, {"a.txt": "half done\n", "new.txt": "new\n"})
        kept = await rig.snapshot("w1")
        assert kept is not None
        (await rig.work("w2", "b", {"b.txt": "landed meanwhile\n"}))
        assert (await rig.ended("b")).state == integrator_pb2.CHANGE_STATE_LANDED

        again = await rig.begin("w3", "c")
        write(again, {"scratch.txt": "thrown away\n"})
        request = integrator_pb2.RestoreSnapshotRequest(
            project="demo", worker="w3", attempt=rig.attempt("c"), ref=kept.ref
        )
        answer = await rig.integrator.RestoreSnapshot(request)

        assert git(again, "rev-parse", "HEAD") == base == answer.worktree.base_commit
        assert git(again, "status", "--porcelain").split("\n") == ["M a.txt", "?? new.txt"]
        assert (again / "a.txt").read_text() == "half done\n"
        assert git(rig.repo, "show", f"{answer.kept.ref}:scratch.txt") == "thrown away"
        await rig.submit("w3", "c")
        assert (await rig.ended("c")).state == integrator_pb2.CHANGE_STATE_LANDED
        landed = git(rig.repo, "ls-tree", "--name-only", "coord/main").split()
        assert landed == ["a.txt", "b.txt", "new.txt"]


async def test_a_branch_goes_once_its_change_has_landed(tmp_path: Path) -> None:
    rig = rig_at(tmp_path, check="test -e go")
    async with running(rig):
        await rig.work("w1", "a", {"go": "", "a.txt": "a\n"})
        await rig.begin("w1", "b")
        await rig.ended("a")
        await rig.restart()

        async def is_gone() -> bool:
            return git(rig.repo, "branch", "--list", "coord/w1/*").split() == ["+", "coord/w1/b"]

        await until(is_gone)


async def test_what_a_cut_off_setup_has_made_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise CoordError(grpc.StatusCode.INTERNAL, "CUT_OFF", "as by a kill")

    async with running(rig_at(tmp_path)) as rig:
        with monkeypatch.context() as patched:
            patched.setattr(SqliteIntegratorStore, "worktree_ready", fail)
            with pytest.raises(grpc.aio.AioRpcError):
                await rig.begin("w1", "a")
        assert git(rig.repo, "branch", "--list", "coord/w1/a")
        await rig.restart()
        await rig.begin("w1", "b")
        await rig.restart()

        async def is_gone() -> bool:
            return not git(rig.repo, "branch", "--list", "coord/w1/a")

        await until(is_gone)


async def test_a_worktree_whose_change_has_ended_goes_when_it_lies_idle(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        landed = await rig.begin("w1", "a")
        write(landed, {"a.txt": "landed\n"})
        open_ = await rig.begin("w2", "b")
        await rig.submit("w1", "a")
        await rig.ended("a")
        write(landed, {"later.txt": "after the end\n"})
        rig.settings["reap_after_s"] = 0.001
        await rig.restart()

        async def is_gone() -> bool:
            request = integrator_pb2.ListWorktreesRequest(project="demo")
            rows = (await rig.integrator.ListWorktrees(request)).worktrees
            return [row.worker for row in rows] == ["w2"]

        await until(is_gone)
        assert not landed.exists()
        assert open_.exists()
        kept = git(rig.repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip/w1").split()
        assert any("later.txt" in git(rig.repo, "ls-tree", "--name-only", ref) for ref in kept)


async def test_sixteen_are_set_up_and_removed_at_once(tmp_path: Path) -> None:
    workers = [f"w{number}" for number in range(16)]
    async with running(rig_at(tmp_path)) as rig:
        await asyncio.gather(*(rig.begin(one, f"task-{one}") for one in workers))
        commit(rig.repo, {"mine.txt": "mine\n"})
        git(rig.repo, "fetch", "-q", ".", "main")
        await asyncio.gather(*map(rig.teardown, workers))
        assert git(rig.repo, "branch", "--list", "coord/w*") == ""
        assert len(git(rig.repo, "worktree", "list").splitlines()) == 1
