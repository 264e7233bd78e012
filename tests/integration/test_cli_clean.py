"""`coord clean`: what has landed goes, what has not stays until it is named."""

import fcntl
import json
from pathlib import Path

import psutil
import pytest
from coord_integrator.lock import remove_lock
from coord_worker.names import claim

from tests.integration.cli_project import AGENT, Project
from tests.integration.repositories import git
from tests.integration.waiting import gone, until

KINDS = {"worktree", "branch", "kept work", "log", "report"}
HALF = f"{AGENT}\ntest $COORD_TASK_ID != bad"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def refs(project: Project) -> list[str]:
    names = ("refs/coord", "refs/heads/coord/")
    return git(project.repo, "for-each-ref", "--format=%(refname)", *names).split()


async def half_landed(project: Project) -> str:
    """Run a plan of which one task lands and the other fails; return the latter's wip ref."""
    plan = project.plan('id = "good"', 'id = "bad"\nretries = 0')
    status, _ = await project.run(plan, agent=HALF)
    assert status == 1
    await project.call("clean")
    (kept,) = [ref for ref in refs(project) if ref.startswith("refs/coord/wip/")]
    return kept


async def test_what_has_landed_goes_and_what_has_not_stays(project: Project) -> None:
    kept = await half_landed(project)
    worktrees = project.folder / "state" / "worktrees"
    logs = project.folder / "state" / "workers" / "logs"

    assert git(project.repo, "show", f"{kept}:bad.txt") == "x"
    assert sorted(refs(project)) == ["refs/coord/landing", kept, "refs/heads/coord/main"]
    assert len(git(project.repo, "worktree", "list").splitlines()) == 1
    assert [path for path in worktrees.iterdir() if path.name != ".removed"] == []
    assert [path.name for path in logs.iterdir()] == ["bad"]
    assert "merging was paused" not in (await project.call("doctor"))[1]


async def test_a_dry_run_removes_nothing(project: Project) -> None:
    await project.run(project.plan('id = "a"'), "--workers", "1")
    before = refs(project)
    status, output = await project.call("clean", "--dry-run", "--json")

    told = json.loads(output)
    assert status == 0
    assert {one["kind"] for one in told["removed"]} == KINDS
    assert all(one["bytes"] for one in told["removed"] if one["kind"] == "worktree")
    assert refs(project) == before
    assert (project.folder / "state" / "worktrees" / "w1").exists()


async def test_a_report_stays_until_all_that_it_tells_of_has_landed(project: Project) -> None:
    await half_landed(project)
    reports, old = project.folder / "state" / "reports", project.folder / "state" / "run.log.1"
    old.write_text("x")
    status, output = await project.call("clean", "--json")
    told = json.loads(output)
    (kept,) = [one for one in told["kept"] if one["kind"] == "report"]
    assert (status, kept["why"]) == (0, "tells of tasks that have not landed, such as bad")
    assert kept["bytes"] > 0
    assert (len(list(reports.iterdir())), old.exists()) == (1, False)

    plan = str(project.folder / "plan.toml")
    assert (await project.run(plan, "--retry-failed"))[0] == 0
    await project.call("clean")
    assert list(reports.iterdir()) == []


def everything(project: Project) -> list[str]:
    """Return all refs, worktrees and files of Coord's."""
    listed = git(project.repo, "worktree", "list").splitlines()
    logs = (project.folder / "state" / "workers" / "logs").rglob("*")
    return [*refs(project), *listed, *sorted(map(str, logs))]


async def test_all_is_refused_and_removes_nothing_while_something_has_not_landed(
    project: Project,
) -> None:
    await project.run(project.plan('id = "good"', 'id = "bad"\nretries = 0'), agent=HALF)
    before = everything(project)
    for flags in (("--dry-run",), ()):
        status, output = await project.call("clean", "--all", *flags)
        assert (status, "and nothing was removed" in output) == (1, True)
        assert all(line.startswith("left") for line in output.splitlines()[:-1])
        assert "left branch" not in output
        assert everything(project) == before

    await project.call("clean")
    (kept,) = [ref for ref in refs(project) if ref.startswith("refs/coord/wip/")]
    assert f"{kept}: has not landed" in output
    status, output = await project.call("clean", "--all", "--discard", f"{kept}x")
    assert (status, kept in refs(project)) == (2, True)
    status, output = await project.call("clean", "--all", "--discard", kept)
    assert (status, refs(project)) == (0, [])
    assert not (project.folder / "state").exists()
    assert not (project.repo / ".git" / "coord.lock").exists()
    assert "good.txt" in git(project.repo, "ls-tree", "--name-only", "main")


async def test_all_that_has_not_landed_can_be_given_up_at_once_but_nothing_that_has(
    project: Project,
) -> None:
    (project.repo / "README").write_text("my own change\n")
    plan = project.plan('id = "good"', 'id = "bad"\nretries = 0')
    await project.run(plan, agent=HALF)
    await project.call("clean")
    assert [ref for ref in refs(project) if ref.startswith("refs/coord/wip/")]
    status, output = await project.call("clean", "--all", "--discard-unlanded")
    assert (status, "git merge coord/main" in output) == (1, True)
    git(project.repo, "stash", "-q")
    git(project.repo, "merge", "-q", "coord/main")
    assert (await project.call("clean", "--all", "--discard-unlanded"))[0] == 0
    assert refs(project) == []


async def test_all_is_refused_while_the_users_branch_lacks_what_has_landed(
    project: Project,
) -> None:
    (project.repo / "README").write_text("my own change\n")
    await project.run(project.plan('id = "a"'))
    status, output = await project.call("clean", "--all")

    assert status == 1
    assert "git merge coord/main" in output
    assert "a.txt" in project.landed()


async def test_what_lies_in_a_worktree_of_a_killed_run_is_kept_first(project: Project) -> None:
    agent = "echo unsaved >left.txt; echo $$ >a.pid; sleep 100"
    run = await project.start(*project.command(project.plan('id = "a"'), agent=agent))
    await until(project.pids)
    workers = [child.pid for child in psutil.Process(run.pid).children()]
    run.kill()
    await run.communicate()
    await until(lambda: all(map(gone, workers)))
    status, output = await project.call("clean", "--target", "main")

    assert status == 0, output
    (kept,) = [ref for ref in refs(project) if ref.startswith("refs/coord/wip/")]
    assert git(project.repo, "show", f"{kept}:left.txt") == "unsaved"


async def test_beside_running_services_worktrees_in_use_stay(project: Project) -> None:
    async with project.up():
        await project.run(project.plan('id = "a"'), "--workers", "1")
        kept = claim(project.folder / "state" / "workers", ["w1"])
        assert kept is not None
        with kept:
            _, output = await project.call("clean")
        assert "worktrees/w1: its worker is at work" in output
        assert (await project.call("clean", "--all"))[0] == 2
        status, output = await project.call("clean")
        assert (status, "removed worktree" in output) == (0, True)


async def test_a_dry_run_says_what_the_real_one_does(project: Project) -> None:
    await project.run(project.plan('id = "good"', 'id = "bad"\nretries = 0'), agent=HALF)
    left = project.folder / "state" / "worktrees" / "w1" / "left.txt"
    left.write_text("since the attempt's end")
    for flags in ((), ("--all", "--discard", "REF", "--discard", "REF2")):
        named = iter([ref for ref in refs(project) if "/wip/" in ref])
        words = [next(named) if word.startswith("REF") else word for word in flags]
        _, dry = await project.call("clean", "--json", "--dry-run", *words)
        _, real = await project.call("clean", "--json", *words)
        rows = [
            {(one["kind"], one["name"]) for one in json.loads(told)["removed"]}
            for told in (dry, real)
        ]
        assert rows[0] == rows[1]
        assert len(rows[0]) > 1
    assert refs(project) == []


async def test_a_moved_worktree_is_left_and_shown(project: Project) -> None:
    await project.run(project.plan('id = "a"'), "--workers", "1")
    place, moved = project.folder / "state" / "worktrees" / "w1", project.folder / "moved"
    git(project.repo, "worktree", "move", str(place), str(moved))
    status, output = await project.call("clean")
    assert f"left worktree {moved}" in output
    assert f"git worktree remove {moved}" in output
    assert (moved / "a.txt").exists()
    assert (await project.call("clean", "--all"))[0] == 1
    git(project.repo, "worktree", "remove", "--force", str(moved))
    status, output = await project.call("clean", "--all")
    assert (status, f"removed worktree without a folder {place}" in output) == (0, True)


async def test_all_is_refused_where_another_state_folder_has_worktrees(project: Project) -> None:
    await project.run(project.plan('id = "a"'))
    other = ("--repo", str(project.repo), "--state", str(project.folder / "other"))
    mine, project.where = project.where, other
    await project.run(project.plan('id = "b"'))
    status, output = await project.call("clean", "--all")
    assert (status, f"--state {project.folder / 'state'}" in output) == (2, True)
    project.where = mine
    assert (await project.call("clean"))[0] == 0
    project.where = other
    assert (await project.call("clean", "--all"))[0] == 0


def test_a_lock_that_somebody_holds_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "coord.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_lock(tmp_path)
        assert path.exists()
    remove_lock(tmp_path)
    assert not path.exists()
