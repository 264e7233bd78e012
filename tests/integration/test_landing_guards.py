"""What agents, users and checks cannot do to what lands, and what landings do not do to them."""

import os
from pathlib import Path

import grpc.aio
import pytest
from coord.client import connect
from coord.errors import CoordError, from_rpc
from coord.v1 import integrator_pb2, integrator_pb2_grpc, queue_pb2
from coord_runtime.tokens import Kind, Principal

from tests.integrator_rig import (
    Rig,
    commit,
    git,
    park,
    rig_at,
    running,
    until,
    until_at,
    until_clean,
    write,
)

LANDED = integrator_pb2.CHANGE_STATE_LANDED
REJECTED = integrator_pb2.CHANGE_STATE_REJECTED
STALE = integrator_pb2.CHANGE_STATE_STALE


async def test_a_commit_of_somebody_elses_on_the_landing_branch_is_no_tip(tmp_path: Path) -> None:
    """An agent commits to `coord/main` itself; what it has there lands by the check or not."""
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"a.txt": "dirty\n"})
        await rig.work("w1", "one", {"b.txt": "b\n"})
        landed = await rig.ended("one")
        worktree = await rig.begin("w1", "two")
        git(worktree, "checkout", "-q", "coord/main")
        commit(worktree, {"bad.txt": "bad\n"})
        bad = git(worktree, "rev-parse", "HEAD")
        await rig.submit("w1", "two")
        rejected = await rig.ended("two")
        await rig.work("w2", "three", {"c.txt": "c\n"})
        last = await rig.ended("three")

    assert (rejected.state, last.state) == (REJECTED, LANDED)
    assert git(rig.repo, "rev-parse", "coord/main") == last.landed_commit
    assert git(rig.repo, "rev-parse", f"{last.landed_commit}^") == landed.landed_commit
    kept = git(rig.repo, "for-each-ref", "--format=%(refname)", "--contains", bad, "refs/coord/wip")
    assert kept


@pytest.mark.parametrize("name", ["b.txt", "bad.txt"])
async def test_without_a_record_of_landings_the_check_tells_whether_to_go_on_from_them(
    tmp_path: Path, name: str
) -> None:
    """As where the state folder is new and the repository is not."""
    rig = rig_at(tmp_path)
    git(rig.repo, "checkout", "-q", "-b", "coord/main")
    commit(rig.repo, {name: "from earlier\n"})
    earlier = git(rig.repo, "rev-parse", "HEAD")
    git(rig.repo, "checkout", "-q", "main")
    write(rig.repo, {"a.txt": "dirty\n"})
    async with running(rig):
        await until_taken(rig, earlier, taken=name == "b.txt")
        await rig.work("w1", "t", {"c.txt": "c\n"})
        change = await rig.ended("t")

    assert change.state == LANDED
    names = git(rig.repo, "ls-tree", "--name-only", "coord/main").split()
    assert names == (["a.txt", "b.txt", "c.txt"] if name == "b.txt" else ["a.txt", "c.txt"])


async def until_taken(rig: Rig, earlier: str, *, taken: bool) -> None:
    """Wait until a commit of an earlier run is the tip, or is off the landing branch."""

    async def is_settled() -> bool:
        tip = (await rig.merge_queue()).target_commit
        at = git(rig.repo, "rev-parse", "coord/main")
        return tip == at and (at == earlier) == taken

    await until(is_settled)


async def test_a_deleted_landing_branch_is_put_back(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"a.txt": "dirty\n"})
        await rig.work("w1", "one", {"b.txt": "b\n"})
        landed = await rig.ended("one")
        git(rig.repo, "branch", "-q", "-D", "coord/main")

        async def is_back() -> bool:
            return landed.landed_commit in git(rig.repo, "for-each-ref", "refs/heads/coord/main")

        await until(is_back)


async def test_nothing_that_a_check_does_to_its_folder_reaches_the_next_run(
    tmp_path: Path,
) -> None:
    """A change brings a check that has git leave out the folder that the next change breaks."""
    check = "if test -e hook.sh; then git sparse-checkout set --cone e; fi; ! test -e d/bad"
    async with running(rig_at(tmp_path, check)) as rig:
        park(rig.repo)
        await rig.work("w1", "one", {"hook.sh": "hook\n", "d/good": "good\n"})
        first = await rig.ended("one")
        worktree = await rig.begin("w1", "two")
        (worktree / "hook.sh").unlink()
        write(worktree, {"d/bad": "bad\n"})
        await rig.submit("w1", "two")
        second = await rig.ended("two")

    assert (first.state, second.state) == (LANDED, REJECTED)
    assert not (rig.state / "integrator" / "check").exists()


async def test_nobody_lands_anything_as_another_workers_attempt(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        await rig.begin("w1", "t")
        write(await rig.setup("w2", "t"), {"b.txt": "by w2\n"})
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await rig.submit("w2", "t")
        task = await rig.task("t")

    assert from_rpc(refusal.value).reason == "STALE_TOKEN"
    assert task.state == queue_pb2.TASK_STATE_ASSIGNED


@pytest.mark.parametrize("method", ["SetupWorktree", "SubmitChange", "TeardownWorktree"])
async def test_a_workers_token_changes_no_worktree(tmp_path: Path, method: str) -> None:
    async with running(rig_at(tmp_path)) as rig:
        assert rig.node is not None
        token = rig.node.mint.mint(Principal(Kind.WORKER, "w1", "demo"))
        request = getattr(integrator_pb2, f"{method}Request")(project="demo", worker="w1")
        async with connect(rig.node.address, token) as channel:
            stub = integrator_pb2_grpc.IntegratorServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await getattr(stub, method)(request)

    assert from_rpc(refusal.value).reason == "NOT_FOR_WORKERS"


async def test_an_ignored_file_where_a_landing_needs_a_folder_stays(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    commit(rig.repo, {".gitignore": "data\n"})
    write(rig.repo, {"data": "precious\n"})
    async with running(rig):
        worktree = await rig.begin("w1", "t")
        write(worktree, {"data/x/y": "theirs\n"})
        git(worktree, "add", "-f", "data/x/y")
        await rig.submit("w1", "t")
        change = await rig.ended("t")
        await rig.work("w2", "next", {"c.txt": "c\n"})
        await rig.ended("next")

    assert change.state == LANDED
    assert (rig.repo / "data").read_text() == "precious\n"


async def test_a_tracked_file_that_becomes_a_folder_is_brought_along(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        worktree = await rig.begin("w1", "t")
        (worktree / "a.txt").unlink()
        write(worktree, {"a.txt/x": "x\n"})
        await rig.submit("w1", "t")
        change = await rig.ended("t")
        await until_at(rig.repo, "HEAD", change.landed_commit)
        await until_clean(rig.repo)

    assert (rig.repo / "a.txt" / "x").read_text() == "x\n"


async def test_what_was_committed_lands_though_the_agent_has_removed_its_worktree(
    tmp_path: Path,
) -> None:
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        worktree = await rig.begin("w1", "t")
        commit(worktree, {"b.txt": "b\n"})
        git(rig.repo, "worktree", "remove", "--force", str(worktree))
        await rig.submit("w1", "t")
        change = await rig.ended("t")

    assert change.state == LANDED
    assert git(rig.repo, "show", "main:b.txt") == "b"


async def test_a_tree_that_git_cannot_check_out_is_rejected(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        park(rig.repo)
        await rig.work(
            "w1", "t", {".gitattributes": "z.txt working-tree-encoding\n", "z.txt": "z\n"}
        )
        change = await rig.ended("t")
        queue = await rig.merge_queue()

    assert change.state == REJECTED
    assert "git cannot check out this tree" in change.detail
    assert not queue.HasField("paused")


async def test_merging_waits_while_a_checkout_has_the_landing_branch(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    look = tmp_path / "look"
    git(rig.repo, "worktree", "add", "-q", "-b", "coord/main", str(look))
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.paused("BRANCH_CHECKED_OUT")
        queue, status = await rig.merge_queue(), git(look, "status", "--porcelain")
        git(look, "checkout", "-q", "--detach")
        change = await rig.ended("t")
        going = await rig.merge_queue()

    assert str(look) in queue.paused.message
    assert status == ""
    assert change.state == LANDED
    assert not going.HasField("paused")


async def test_a_worktree_of_coords_own_does_not_hold_the_landing_branch(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        write(rig.repo, {"a.txt": "dirty\n"})
        worktree = await rig.begin("w1", "one")
        await rig.work("w2", "two", {"b.txt": "b\n"})
        first = await rig.ended("two")
        git(worktree, "checkout", "-q", "coord/main")
        write(worktree, {"c.txt": "c\n"})
        await rig.work("w2", "three", {"d.txt": "d\n"})
        landed = await rig.ended("three")
        status = git(worktree, "status", "--porcelain")
        head = git(worktree, "rev-parse", "HEAD")

    assert landed.state == LANDED
    assert status == "?? c.txt"
    assert head == first.landed_commit


@pytest.mark.parametrize("branch", ["coord", "coord/main/mine"])
async def test_a_branch_in_the_way_of_coords_own_is_refused_at_the_start(
    tmp_path: Path, branch: str
) -> None:
    rig = rig_at(tmp_path)
    git(rig.repo, "branch", branch)
    with pytest.raises(CoordError, match=f"git branch -m {branch}") as refusal:
        await rig.start()

    assert refusal.value.reason == "BRANCH_IN_THE_WAY"


async def test_a_git_that_is_killed_at_the_start_says_nothing_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rig_at(tmp_path)
    (tmp_path / "git").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CoordError) as caught:
        await rig.start()
    assert caught.value.reason == "GIT_ENDED"
