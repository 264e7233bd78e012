"""Worktrees: set up, taken over, mended and removed, and never a line lost."""

import shutil
from pathlib import Path

import grpc.aio
import pytest
from coord.errors import from_rpc
from coord.v1 import common_pb2, integrator_pb2

from tests.integrator_rig import Rig, commit, git, make_repository, running, write


def rig_at(tmp_path: Path, **settings: object) -> Rig:
    return Rig(
        make_repository(tmp_path / "repo"), tmp_path / "state", {"check": "true", **settings}
    )


async def setup(rig: Rig, task: str, token: int) -> integrator_pb2.Worktree:
    attempt = common_pb2.AttemptRef(task_id=task, fencing_token=token)
    request = integrator_pb2.SetupWorktreeRequest(project="demo", worker="w1", attempt=attempt)
    response: integrator_pb2.SetupWorktreeResponse = await rig.integrator.SetupWorktree(request)
    return response.worktree


def wip(rig: Rig) -> list[str]:
    return git(rig.repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip").split()


def names_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


async def test_an_attempt_gets_a_clean_worktree_on_its_branch_at_the_target(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        worktree = await setup(rig, "a/b:c..d.lock", 1)

    path = Path(worktree.path)
    assert path.parent == tmp_path / "state" / "worktrees"
    assert worktree.branch == "coord/w1/a%2Fb%3Ac%2E.d%2Elock"
    assert git(path, "symbolic-ref", "--short", "HEAD") == worktree.branch
    assert git(path, "rev-parse", "HEAD") == git(rig.repo, "rev-parse", "main")
    assert git(path, "status", "--porcelain") == ""


async def test_repeating_a_setup_changes_nothing(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        first = await setup(rig, "t", 1)
        write(Path(first.path), {"work.txt": "work\n"})
        second = await setup(rig, "t", 1)

    assert first == second
    assert (Path(first.path) / "work.txt").read_text() == "work\n"


async def test_an_older_attempt_is_refused(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        await setup(rig, "t", 5)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await setup(rig, "other", 4)

    assert from_rpc(refusal.value).reason == "STALE_TOKEN"


async def test_the_next_attempt_starts_clean_and_what_was_left_is_kept(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    commit(rig.repo, {".gitignore": "cache/\n"})
    async with running(rig):
        path = Path((await setup(rig, "t", 1)).path)
        commit(path, {"done.txt": "done\n"})
        write(path, {"a.txt": "staged\n"})
        git(path, "add", "a.txt")
        write(path, {"a.txt": "on disk\n", "new.txt": "new\n", "cache/big": "big\n"})
        commit(rig.repo, {"later.txt": "later\n"})
        again = await setup(rig, "t", 2)

    *kept, left = sorted(wip(rig), key=lambda ref: ref.endswith("-left"))
    assert len(kept) == 1
    assert kept[0].startswith("refs/coord/wip/w1/1-")
    assert git(rig.repo, "show", f"{left}^1:a.txt") == "staged"
    message = git(rig.repo, "log", "-1", "--format=%B", kept[0])
    assert message.startswith("Unfinished work on ")
    assert "Coord-Attempt: 1" in message
    for name, content in {"done.txt": "done", "a.txt": "on disk", "new.txt": "new"}.items():
        assert git(rig.repo, "show", f"{kept[0]}:{name}") == content
    assert again.base_commit == git(rig.repo, "rev-parse", "main")
    assert git(path, "status", "--porcelain") == ""
    assert names_in(path) == [
        ".git", ".gitignore", "a.txt", "cache", "later.txt"
    ]  # fmt: skip


async def test_commits_that_an_agent_takes_back_are_kept(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        commit(path, {"first.txt": "first\n"})
        git(path, "reset", "-q", "--hard", "HEAD~1")
        commit(path, {"second.txt": "second\n"})
        git(path, "commit", "-q", "--amend", "-m", "amended")
        git(path, "checkout", "-q", "-b", "aside")
        commit(path, {"third.txt": "third\n"})
        git(path, "checkout", "-q", "coord/w1/t")
        git(path, "branch", "-q", "-D", "aside")
        await rig.snapshot("w1")
        before = wip(rig)
        await rig.snapshot("w1")
        await setup(rig, "u", 2)
        assert wip(rig) == before
        (left,) = [ref for ref in before if ref.endswith("-left")]
        shown = ("show", "--format=", "--name-only")
        files = {git(rig.repo, *shown, f"{left}^{number}") for number in (1, 2, 3)}
        assert files == {"first.txt", "second.txt", "third.txt"}
        # What was cleaned up since is not the next attempt's to keep.
        for ref in before:
            git(rig.repo, "update-ref", "-d", ref)
        git(rig.repo, "branch", "-q", "-D", "coord/w1/t")
        await setup(rig, "v", 3)
        assert wip(rig) == []


async def test_what_is_staged_and_in_the_files_is_kept_once(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        write(path, {"b.txt": "b\n", "c.txt": "not staged\n"})
        git(path, "add", "b.txt")
        git(path, "rm", "-q", "--cached", "a.txt")
        assert await rig.snapshot("w1")
    assert len(wip(rig)) == 1


async def test_an_unfinished_rebase_a_detached_head_and_locks_do_not_stop_it(
    tmp_path: Path,
) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        lock = Path(git(path, "rev-parse", "--absolute-git-dir")) / "index.lock"
        commit(path, {"a.txt": "ours\n"}, "ours")
        git(path, "checkout", "-q", "--detach", "HEAD~1")
        commit(path, {"a.txt": "theirs\n"}, "theirs")
        with pytest.raises(Exception, match="rebase"):
            git(path, "rebase", "-q", "coord/w1/t")
        write(path, {"loose.txt": "loose\n"})
        lock.touch()
        await setup(rig, "u", 2)

    assert git(path, "status", "--porcelain=v2", "--branch").splitlines()[1] == (
        "# branch.head coord/w1/u"
    )
    assert not git(path, "status", "--porcelain")
    kept = wip(rig)
    assert any(git(rig.repo, "ls-tree", ref, "loose.txt") for ref in kept)
    # The branch of the first attempt holds a commit of its own: it stays.
    assert git(rig.repo, "show", "coord/w1/t:a.txt") == "ours"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_flags_that_hide_changes_from_git_hide_nothing(tmp_path: Path, flag: str) -> None:
    rig = rig_at(tmp_path)
    commit(rig.repo, {"b.txt": "b\n"})
    async with running(rig):
        path = Path((await setup(rig, "t", 1)).path)
        git(path, "update-index", flag, "a.txt")
        write(path, {"a.txt": "hidden\n"})
        await setup(rig, "u", 2)

    assert git(rig.repo, "show", f"{wip(rig)[0]}:a.txt") == "hidden"
    assert (path / "a.txt").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize("harm", ["no .git", "own .git", "unregistered", "emptied admin"])
async def test_a_folder_that_git_does_not_know_any_more_is_read_and_replaced(
    tmp_path: Path, harm: str
) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        commit(path, {"committed.txt": "committed\n"})
        write(path, {"left.txt": "left\n"})
        admin = rig.repo / ".git" / "worktrees" / "w1"
        if harm == "no .git":
            (path / ".git").unlink()
        elif harm == "own .git":
            (path / ".git").unlink()
            git(path, "init", "-q")
        elif harm == "unregistered":
            shutil.rmtree(admin)
        else:
            for item in ("HEAD", "commondir", "gitdir"):
                (admin / item).unlink()
        worktree = await setup(rig, "u", 2)

    kept = wip(rig)
    assert [git(rig.repo, "show", f"{kept[0]}:{name}") for name in ("committed.txt", "left.txt")]
    assert git(path, "symbolic-ref", "--short", "HEAD") == worktree.branch
    assert git(path, "status", "--porcelain") == ""
    assert names_in(path) == [".git", "a.txt"]


async def test_a_missing_folder_is_made_anew(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        commit(path, {"committed.txt": "committed\n"})
        shutil.rmtree(path)
        again = await setup(rig, "t", 1)

    assert git(path, "symbolic-ref", "--short", "HEAD") == again.branch
    commits = git(rig.repo, "log", "--all", "--format=%s", "--", "committed.txt").split()
    assert commits == ["work"]


async def test_a_half_made_worktree_is_made_again(tmp_path: Path) -> None:
    """As a kill during `git worktree add` leaves it: locked, without files."""
    rig = rig_at(tmp_path)
    root = tmp_path / "state" / "worktrees"
    root.mkdir(parents=True)
    git(rig.repo, "worktree", "add", "-q", "--no-checkout", "--lock", "-b", "x", str(root / "w1"))
    async with running(rig):
        worktree = await setup(rig, "t", 1)

    path = Path(worktree.path)
    assert git(path, "symbolic-ref", "--short", "HEAD") == worktree.branch
    assert (path / "a.txt").exists()
    assert git(path, "status", "--porcelain") == ""


async def test_a_branch_that_someone_has_checked_out_is_left_alone(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    git(rig.repo, "checkout", "-q", "-b", "coord/w1/t")
    rig.settings["target"] = "main"
    commit(rig.repo, {"mine.txt": "mine\n"})
    mine = git(rig.repo, "rev-parse", "HEAD")
    async with running(rig):
        worktree = await setup(rig, "t", 7)

    assert worktree.branch == "coord/w1/t%7"
    assert git(rig.repo, "rev-parse", "coord/w1/t") == mine


async def test_teardown_keeps_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        write(path, {"left.txt": "left\n"})
        snapshot = await rig.teardown("w1")
        again = await rig.teardown("w1")
        listed = await rig.integrator.ListWorktrees(
            integrator_pb2.ListWorktreesRequest(project="demo")
        )
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await setup(rig, "s", 1)

    assert snapshot is not None
    assert again is None
    assert git(rig.repo, "show", f"{snapshot.ref}:left.txt") == "left"
    assert names_in(path.parent) == [".removed"]
    assert len(git(rig.repo, "worktree", "list").splitlines()) == 1
    assert list(listed.worktrees) == []
    assert git(rig.repo, "branch", "--list", "coord/w1/*") == ""
    assert from_rpc(refusal.value).reason == "STALE_TOKEN"


async def test_what_is_submitted_stays_when_the_user_collects_garbage(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path, check="", no_check=False)) as rig:
        path = await rig.begin("w1", "t")
        write(path, {"left.txt": "left\n"})
        change = await rig.submit("w1", "t")
        await rig.teardown("w1")
        for ref in git(rig.repo, "for-each-ref", "--format=%(refname)", "refs/coord").split():
            git(rig.repo, "update-ref", "-d", ref)
        git(rig.repo, "reflog", "expire", "--expire=now", "--all")
        git(rig.repo, "gc", "-q", "--prune=now")
        rig.settings["check"] = "test -e left.txt"
        await rig.restart()
        landed = await rig.ended("t")

    assert landed.state == integrator_pb2.CHANGE_STATE_LANDED
    assert landed.head_commit == change.head_commit
    assert git(rig.repo, "fsck", "--connectivity-only", "--no-dangling") == ""


async def test_included_files_are_copied_and_the_setup_runs_once(tmp_path: Path) -> None:
    setup_command = "cat .env > seen.log && echo ran >> ran.log"
    rig = rig_at(tmp_path, setup=setup_command)
    commit(rig.repo, {".gitignore": ".env\n*.log\n", ".worktreeinclude": ".env\nconf/*\n"})
    write(rig.repo, {".env": "KEY=1\n", "conf/not-ignored": "no\n"})
    async with running(rig):
        path = Path((await setup(rig, "t", 1)).path)
        await setup(rig, "u", 2)

    assert (path / "seen.log").read_text() == "KEY=1\n"
    assert (path / "ran.log").read_text() == "ran\n"
    assert not (path / "conf").exists()


async def test_included_folders_are_copied_with_links_modes_and_repositories(
    tmp_path: Path,
) -> None:
    rig = rig_at(tmp_path)
    commit(rig.repo, {".gitignore": "deps/\n", ".worktreeinclude": "deps/\n"})
    write(rig.repo, {"deps/bin/tool": "#!/bin/sh\n", "deps/nested/file": "nested\n"})
    (rig.repo / "deps" / "bin" / "tool").chmod(0o755)
    (rig.repo / "deps" / "link").symlink_to("bin")
    (rig.repo / "deps" / "broken").symlink_to("nowhere")
    git(rig.repo / "deps" / "nested", "init", "-q")
    async with running(rig):
        deps = Path((await setup(rig, "t", 1)).path) / "deps"

    assert (deps / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert [str((deps / name).readlink()) for name in ("link", "broken")] == ["bin", "nowhere"]
    assert (deps / "nested" / "file").read_text() == "nested\n"


async def test_a_failed_setup_says_why_and_is_run_again(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    command = f"test -e {fixed} || {{ echo no luck; exit 4; }}"
    async with running(rig_at(tmp_path, setup=command)) as rig:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await setup(rig, "t", 1)
        fixed.touch()
        worktree = await setup(rig, "t", 1)

    error = from_rpc(refusal.value)
    assert error.reason == "SETUP_FAILED"
    assert "no luck" in error.message
    assert worktree.branch == "coord/w1/t"


async def test_users_hooks_do_not_run(tmp_path: Path) -> None:
    rig = rig_at(tmp_path)
    ran = tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction", "pre-commit", "post-merge"):
        hook = rig.repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> {ran}\n")
        hook.chmod(0o755)
    async with running(rig):
        await rig.work("w1", "t", {"b.txt": "b\n"})
        await rig.ended("t")

    assert not ran.exists()


async def test_a_file_in_another_encoding_than_it_says_is_kept_as_it_is(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        attributes = "x.txt working-tree-encoding=UTF-16\nz.txt working-tree-encoding\n"
        write(path, {".gitattributes": attributes, "x.txt": "abc\n", "z.txt": "z\n"})
        await setup(rig, "u", 2)

    kept = wip(rig)
    assert [git(rig.repo, "show", f"{kept[0]}:{name}") for name in ("x.txt", "z.txt")] == [
        "abc",
        "z",
    ]
    assert names_in(path) == [".git", "a.txt"]


async def test_a_worktree_that_git_cannot_keep_is_moved_to_safety(tmp_path: Path) -> None:
    async with running(rig_at(tmp_path)) as rig:
        path = Path((await setup(rig, "t", 1)).path)
        write(path, {"git~1": "no name for git\n"})
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await rig.snapshot("w1")
        await setup(rig, "u", 2)

    error = from_rpc(refusal.value)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_KEPT")
    safe = path.parent / ".unkept" / "w1-1-1"
    assert (safe / "git~1").read_text() == "no name for git\n"
    assert names_in(path) == [".git", "a.txt"]
