"""The radar: conflicts between worktrees are seen while they are edited."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from coord.v1 import common_pb2
from coord.v1 import integrator_pb2 as pb
from coord_integrator import radar
from coord_integrator.ancestry import Ancestry
from coord_integrator.git import Git
from coord_integrator.glances import Glances
from coord_integrator.matrix import Matrix
from coord_integrator.repository import Repository
from coord_integrator.scratch import open_scratch

from tests.integrator_rig import (
    PROJECT,
    Rig,
    commit,
    git,
    make_repository,
    rig_at,
    running,
    until,
    write,
)

ONE, TWO = "ONE\ntwo\nthree\n", "TWO\ntwo\nthree\n"
ATTEMPT = common_pb2.AttemptRef(task_id="a", fencing_token=1)


async def matrix(rig: Rig, worker: str = "") -> pb.GetConflictMatrixResponse:
    request = pb.GetConflictMatrixRequest(project=PROJECT, worker=worker)
    return await rig.integrator.GetConflictMatrix(request)


async def pairs(rig: Rig) -> dict[tuple[str, str], list[str]]:
    found = (await matrix(rig)).conflicts
    return {(one.worker, one.other.worker): list(one.other.paths) for one in found}


async def until_pairs(rig: Rig, expected: dict[tuple[str, str], list[str]]) -> None:
    async def are() -> bool:
        return await pairs(rig) == expected

    await until(are)


async def until_seen(rig: Rig, *workers: str) -> None:
    """Wait until the radar has seen that workers have changed something."""

    async def differ() -> bool:
        heads = {head.worker: head.tree for head in (await matrix(rig)).heads}
        return all(heads.get(worker, heads[""]) != heads[""] for worker in workers)

    await until(differ)


async def changes(rig: Rig) -> list[tuple[str, str, bool]]:
    """Return what was told of conflicts until the pause: both sides, and whether it is over."""
    request = pb.WatchIntegratorEventsRequest(project=PROJECT)
    told = []
    async for response in rig.integrator.WatchIntegratorEvents(request, timeout=60):
        for event in response.events:
            if event.HasField("conflict_changed"):
                conflict = event.conflict_changed.conflict
                over = event.conflict_changed.resolved
                told.append((conflict.worker, conflict.other.worker, over))
            if event.HasField("merging_paused"):
                return told
    raise AssertionError("the stream has ended")


async def test_edits_of_the_same_lines_are_seen_as_they_are_saved(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        write(one, {"a.txt": ONE})
        write(two, {"new.txt": "apart\n"})
        await until_seen(rig, "w1", "w2")
        assert await pairs(rig) == {}

        write(two, {"a.txt": TWO})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        hunks = (await matrix(rig, "w2")).conflicts[0].other.hunks
        assert "ONE" in hunks
        assert "TWO" in hunks

        write(two, {"a.txt": "one\ntwo\nthree\n"})
        await until_pairs(rig, {})


async def test_what_lands_conflicts_with_what_is_still_edited(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one = await rig.begin("w1", "a")
        write(one, {"a.txt": ONE})
        await rig.work("w2", "b", {"a.txt": TWO})
        await rig.ended("b")
        await until_pairs(rig, {("w1", ""): ["a.txt"]})
        assert [head.worker for head in (await matrix(rig)).heads] == ["", "w1"]


async def test_what_an_ended_attempt_has_left_conflicts_with_nobody(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        write(one, {"a.txt": ONE})
        write(two, {"a.txt": TWO})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        await rig.snapshot("w1", "b")
        assert await pairs(rig)
        await rig.snapshot("w1", "a")
        await rig.release("a")
        await until_pairs(rig, {})
        await rig.restart()
        assert await pairs(rig) == {}

        write(await rig.begin("w1", "c"), {"a.txt": ONE})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})


async def test_an_attempt_that_was_to_end_and_goes_on_is_told_of_conflicts(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one = await rig.begin("w1", "a")
        two = await rig.begin("w2", "b")
        await rig.snapshot("w1", "a")
        write(one, {"a.txt": ONE})
        write(two, {"a.txt": TWO})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        await rig.release("a")
        await until_pairs(rig, {})


async def test_any_name_that_a_file_can_have_is_told(tmp_path: Path) -> None:
    names = [b"new\nline", b"'quoted\" $HOME", b"-dash", b"not utf-8 \xff", b"tab\t"]
    async with running(rig_at(tmp_path)) as rig:
        for worker in ("w1", "w2"):
            folder = os.fsencode(await rig.begin(worker, f"task-{worker}"))
            for name in names:
                Path(os.fsdecode(folder + b"/" + name)).write_text(f"{worker}\n")
        told = sorted(name.decode(errors="replace") for name in names)
        await until_pairs(rig, {("w1", "w2"): told})
        hunks = (await matrix(rig, "w1")).conflicts[0].other.hunks
        assert "-dash:\n@@ line 1 @@" in hunks


async def test_a_restart_tells_only_what_has_changed_meanwhile(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        write(one, {"a.txt": ONE})
        write(two, {"a.txt": TWO})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        await rig.restart()
        await until_seen(rig, "w1", "w2")
        await rig.teardown("w1")
        await until_pairs(rig, {})
        await rig.integrator.PauseMerging(pb.PauseMergingRequest(project=PROJECT))
        assert await changes(rig) == [("w1", "w2", False), ("w1", "w2", True)]


async def test_nothing_is_told_twice_when_the_scratch_repository_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        write(one, {"a.txt": ONE})
        write(two, {"a.txt": TWO})
        await until_pairs(rig, {("w1", "w2"): ["a.txt"]})
        monkeypatch.setattr(radar, "_LOOKS_KEPT", 0)
        write(one, {"b.txt": "one\n"})
        write(two, {"b.txt": "two\n"})
        await until_pairs(rig, {("w1", "w2"): ["a.txt", "b.txt"]})
        await rig.integrator.PauseMerging(pb.PauseMergingRequest(project=PROJECT))
        assert await changes(rig) == [("w1", "w2", False)] * 2


async def test_a_check_sees_what_was_saved_just_before(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        one, two = await rig.begin("w1", "a"), await rig.begin("w2", "b")
        for content, met in ((TWO, ["a.txt"]), ("one\ntwo\nthree\n", [])):
            write(one, {"a.txt": ONE})
            write(two, {"a.txt": content})
            request = pb.CheckConflictsRequest(project=PROJECT, worker="w1")
            found = (await rig.integrator.CheckConflicts(request)).conflicts
            assert [path for one in found for path in one.paths] == met


@dataclass
class Desk:
    """A worktree that glances go to."""

    worktree: Path
    glances: Glances

    async def tree(self, *changed: str) -> str:
        paths = [self.worktree / name for name in changed]
        head = await self.glances.look("w1", self.worktree, ATTEMPT, paths or None)
        assert head is not None
        assert git(self.worktree, "rev-parse", "HEAD") == head.head
        return head.tree

    def expected(self) -> str:
        """Return the tree of all files as git adds them."""
        git(self.worktree, "add", "-A")
        return git(self.worktree, "write-tree")


@asynccontextmanager
async def desk_at(tmp_path: Path) -> AsyncIterator[Desk]:
    repo = commit(make_repository(tmp_path / "repo"), {".gitignore": "build/\n*.log\n"})
    worktree, folder = tmp_path / "w1", tmp_path / "integrator"
    git(repo, "worktree", "add", "-q", "-b", "work", str(worktree))
    folder.mkdir()
    repository = await Repository.open(repo, folder)
    scratch = await open_scratch(repository)
    judge = Matrix(scratch, "end-of-an-answer")
    glances = Glances(repository, scratch, judge.footprints)
    await glances.open()
    try:
        yield Desk(worktree, glances)
    finally:
        await glances.close()
        await judge.close()


async def test_a_glance_sees_what_git_would_add_and_leaves_the_index_alone(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        index = Path(git(desk.worktree, "rev-parse", "--absolute-git-dir")) / "index"
        await desk.tree()
        before = index.read_bytes(), index.stat().st_mtime_ns
        write(desk.worktree, {"a.txt": "edited\n", "new/b.txt": "new\n", "x.log": "ignored\n"})
        seen = [await desk.tree("a.txt", "new/b.txt"), await desk.tree()]
        (desk.worktree / "a.txt").unlink()
        write(desk.worktree, {"new/b.txt": "later\n"})
        later = [await desk.tree("a.txt", "new/b.txt", "gone-already.txt"), await desk.tree()]
        assert (index.read_bytes(), index.stat().st_mtime_ns) == before
        write(desk.worktree, {"a.txt": "edited\n", "new/b.txt": "new\n"})
        assert seen == [desk.expected()] * 2
        (desk.worktree / "a.txt").unlink()
        write(desk.worktree, {"new/b.txt": "later\n"})
        assert later == [desk.expected()] * 2


async def test_a_glance_sees_through_commits_ignored_and_nested_files(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        base = await desk.tree()
        write(desk.worktree, {"kept.log": "tracked though ignored\n"})
        git(desk.worktree, "add", "-f", "kept.log")
        git(desk.worktree, "commit", "-q", "-m", "log")
        tracked = await desk.tree("kept.log")
        assert tracked == desk.expected() != base
        nested = make_repository(desk.worktree / "nested", {"inner.txt": "inner\n"})
        assert git(desk.worktree, "-C", str(nested), "status", "--porcelain") == ""
        seen = await desk.tree()
        scratch = tmp_path / "integrator" / "radar" / "repo.git"
        assert "nested/inner.txt" in git(scratch, "ls-tree", "-r", "--name-only", seen)


async def test_churn_of_ignored_files_is_no_change(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.tree()
        names = ["build/out.o", "deep/x.log", "a.txt", "new.txt"]
        write(desk.worktree, dict.fromkeys(names, "written\n"))
        paths = [desk.worktree / name for name in names]
        relevant = await desk.glances.relevant("w1", paths)
        assert sorted(path.name for path in relevant) == ["a.txt", "new.txt"]


@pytest.mark.parametrize("crossed", [False, True])
async def test_merge_bases_are_those_of_git(tmp_path: Path, crossed: bool) -> None:
    repo = make_repository(tmp_path / "repo")
    for name in ("one", "two", "three"):
        git(repo, "checkout", "-q", "-b", name, "main")
        commit(repo, {f"{name}.txt": name})
    if crossed:
        one, two = git(repo, "rev-parse", "one"), git(repo, "rev-parse", "two")
        for name, other in (("one", two), ("two", one)):
            git(repo, "checkout", "-q", name)
            git(repo, "merge", "-q", "-m", "cross", other)
    heads = {name: git(repo, "rev-parse", name) for name in ("main", "one", "two", "three")}
    ancestry = Ancestry(Git(repo))
    await ancestry.read([heads["one"], heads["three"]])
    await ancestry.read(list(heads.values()))
    for one in heads.values():
        for two in heads.values():
            expected = git(repo, "merge-base", "--all", one, two).split()
            assert sorted(ancestry.bases(one, two)) == sorted(expected)
