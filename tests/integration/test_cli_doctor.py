"""`coord doctor` and `coord init`: what they find in a repository, and that they harm nothing."""

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_project import Project
from tests.integration.repositories import git

UNIT = "import unittest\nclass Test(unittest.TestCase): pass\n"
OLD = (1_000_000_000, 1_000_000_000)


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    git(project.repo, "config", "user.name", "User")
    git(project.repo, "config", "user.email", "user@example.org")
    return project


async def findings(project: Project, *flags: str) -> tuple[int, list[dict[str, Any]]]:
    status, output = await project.call("doctor", "--json", *flags)
    return status, [one for one in json.loads(output)["findings"] if one["wrong"]]


async def test_after_a_run_nothing_is_wrong(project: Project) -> None:
    await project.run(project.plan('id = "a"'))
    assert await findings(project) == (0, [])


async def test_a_dead_gits_lock_is_moved_and_not_deleted(project: Project) -> None:
    lock = project.repo / ".git" / "index.lock"
    lock.write_text("half an index")
    assert await findings(project) == (0, [])
    os.utime(lock, OLD)
    status, (found,) = await findings(project)
    assert (status, str(lock) in found["what"], lock.exists()) == (1, True, True)

    moved = project.folder / "state" / "doctor"
    moved.mkdir(parents=True)
    (moved / "2-index.lock").write_text("an earlier one")
    status, (found,) = await findings(project, "--fix")
    assert (status, found["fixed"], lock.exists()) == (0, True, False)
    texts = {path.name: path.read_text() for path in moved.iterdir()}
    assert texts == {"1-index.lock": "half an index", "2-index.lock": "an earlier one"}


@pytest.mark.parametrize(
    ("place", "arguments", "at_work"),
    [
        ("repo", [], True),
        ("repo/src", [], True),
        ("elsewhere", [], False),
        ("elsewhere", ["--git-dir=../repo/.git"], True),
    ],
)
async def test_a_lock_is_left_alone_only_while_a_git_works_there(
    project: Project, place: str, arguments: list[str], at_work: bool
) -> None:
    lock = project.repo / ".git" / "index.lock"
    lock.write_text("half an index")
    os.utime(lock, OLD)
    folder = project.folder / place
    folder.mkdir(exist_ok=True)
    command = ("git", *arguments, "hash-object", "--stdin")
    busy = await asyncio.create_subprocess_exec(*command, cwd=folder, stdin=PIPE, stdout=DEVNULL)
    status, _ = await findings(project)
    await busy.communicate(b"")
    assert status == (0 if at_work else 1)


async def test_the_head_of_a_worktree_whose_folder_is_gone_is_kept(project: Project) -> None:
    folder = project.folder / "state" / "worktrees" / "w9"
    git(project.repo, "worktree", "add", "-q", "--detach", str(folder))
    (folder / "work.txt").write_text("work\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "work")
    folder.rename(project.folder / "elsewhere")
    status, (found,) = await findings(project, "--fix")

    assert (status, found["fixed"]) == (0, True)
    assert len(git(project.repo, "worktree", "list").splitlines()) == 1
    ref = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip")
    assert git(project.repo, "show", f"{ref}:work.txt") == "work"


async def test_a_branch_that_a_worktree_has_lost_is_made_anew(project: Project) -> None:
    folder = project.folder / "state" / "worktrees" / "w9"
    git(project.repo, "worktree", "add", "-q", "-b", "coord/w9/task", str(folder))
    git(folder, "commit", "-q", "--allow-empty", "-m", "work")
    commit = git(folder, "rev-parse", "HEAD")
    git(folder, "update-ref", "-d", "refs/heads/coord/w9/task")
    status, (found,) = await findings(project, "--fix")

    assert (status, found["fixed"]) == (0, True)
    assert git(folder, "rev-parse", "HEAD") == commit
    assert git(folder, "status", "--porcelain") == ""


async def test_a_commit_of_a_detached_worktree_gets_a_ref_once(project: Project) -> None:
    folder = project.folder / "state" / "worktrees" / "w9"
    git(project.repo, "worktree", "add", "-q", "--detach", str(folder))
    assert await findings(project) == (0, [])
    git(folder, "commit", "-q", "--allow-empty", "-m", "work")
    status, (found,) = await findings(project, "--fix")

    assert (status, found["fixed"]) == (0, True)
    ref = f"--points-at={git(folder, 'rev-parse', 'HEAD')}"
    assert git(project.repo, "for-each-ref", "--format=%(refname)", ref, "refs/coord/wip")
    assert await findings(project) == (0, [])


async def test_a_folder_that_git_has_forgotten_is_told_and_clean_keeps_it(
    project: Project,
) -> None:
    await project.run(project.plan('id = "a"'))
    (folder,) = [
        path for path in (project.folder / "state" / "worktrees").iterdir() if path.name[0] != "."
    ]
    (folder / "left.txt").write_text("left\n")
    (folder / ".git").unlink()
    git(project.repo, "worktree", "prune")
    status, output = await project.call("doctor")

    assert status == 0
    assert f"git does not know the worktree {folder} any more" in output
    assert (await project.call("clean"))[0] == 0
    assert not folder.exists()
    ref = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip")
    assert git(project.repo, "show", f"{ref}:left.txt") == "left"


async def test_a_worktree_that_a_dead_git_has_left_locked_is_unlocked(project: Project) -> None:
    folder = project.folder / "state" / "worktrees" / "w9"
    git(project.repo, "worktree", "add", "-q", "--lock", "--detach", str(folder))
    theirs = project.folder / "theirs"
    git(project.repo, "worktree", "add", "-q", "--lock", "--detach", str(theirs))
    status, (found,) = await findings(project, "--fix")

    assert (status, found["fixed"], str(folder) in found["what"]) == (0, True, True)
    listed = git(project.repo, "worktree", "list", "--porcelain").split("\n\n")
    locked = [block.splitlines()[0] for block in listed if "\nlocked" in block]
    assert locked == [f"worktree {theirs}"]


async def test_a_key_that_others_can_read_is_closed(project: Project) -> None:
    await project.run(project.plan('id = "a"'))
    key = project.folder / "state" / "token.key"
    key.chmod(0o644)
    assert (await findings(project, "--fix"))[1][0]["fixed"]
    assert key.stat().st_mode & 0o777 == 0o600


async def test_a_damaged_store_is_told(project: Project) -> None:
    await project.run(project.plan('id = "a"'))
    store = project.folder / "state" / "queue" / "queue.db"
    store.write_bytes(store.read_bytes()[:4096] + b"\xff" * 40_000)
    status, (found,) = await findings(project)
    assert (status, str(store) in found["what"]) == (1, True)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (("checkout", "-q", "--detach"), "HEAD is detached"),
        (("checkout", "-q", "-b", "coord/main"), "a branch of Coord's own"),
        (("checkout", "-q", "--orphan", "new"), "has no commit yet"),
    ],
)
async def test_a_head_on_which_nothing_can_land_is_told(
    project: Project, harm: tuple[str, ...], said: str
) -> None:
    git(project.repo, *harm)
    status, (found,) = await findings(project)
    assert (status, said in found["what"]) == (1, True)


@pytest.mark.parametrize(
    ("files", "check", "setup"),
    [
        ({"Makefile": "all:\ntest: all\n"}, "make test", ""),
        ({"Makefile": "all:\ntesting:\ncheck:\n"}, "make check", ""),
        ({"pyproject.toml": "", "src/x.py": ""}, "PYTHONPATH=src python -m pytest -q", ""),
        ({"pyproject.toml": "", "uv.lock": ""}, "uv run pytest -q", "uv sync"),
        ({"tox.ini": ""}, "tox -q", ""),
        ({"test_x.py": UNIT}, "python -m unittest discover", ""),
        ({"tests/test_x.py": UNIT}, "python -m unittest discover -s tests", ""),
        (
            {"tests/__init__.py": "", "tests/test_x.py": UNIT, "src/x.py": "", "setup.py": ""},
            "PYTHONPATH=src python -m unittest discover",
            "",
        ),
        ({"tests/test_x.py": UNIT, "setup.cfg": "[tool:pytest]"}, "python -m pytest -q", ""),
        (
            {"package.json": '{"scripts": {"test": "node --test"}}', "package-lock.json": "{}"},
            "npm ci && npm test",
            "npm ci",
        ),
        ({"package.json": '{"scripts": {}}', "Cargo.toml": ""}, "cargo test --quiet", ""),
        ({"go.mod": ""}, "go test ./...", ""),
        ({"pom.xml": ""}, "mvn -q test", ""),
        ({}, "", ""),
    ],
)
async def test_init_proposes_what_the_repository_says(
    project: Project, files: dict[str, str], check: str, setup: str
) -> None:
    for name, content in files.items():
        (project.repo / name).parent.mkdir(exist_ok=True)
        (project.repo / name).write_text(content)
    status, output = await project.call("init", "--dry-run", "--json")
    told = json.loads(output)
    assert (status, told["check"], told["setup"]) == (0, check, setup)
    assert not (project.repo / "plan.toml").exists()


async def test_init_writes_new_files_only_and_a_plan_that_runs(project: Project) -> None:
    (project.repo / ".gitignore").write_text(".env\nbuild/\n*.o\n")
    (project.repo / ".env").write_text("KEY=secret\n")
    (project.repo / "x.o").write_text("")
    status, output = await project.call("init")
    plan = project.repo / "plan.toml"
    assert (status, "secret" in output) == (0, False)
    include = (project.repo / ".worktreeinclude").read_text()
    assert [line for line in include.splitlines() if not line.startswith("#")] == ["/.env"]
    assert (await project.run(str(plan)))[0] == 0

    plan.write_text("mine\n")
    status, output = await project.call("init")
    assert (status, f"left as it is: {plan}" in output) == (0, True)
    assert plan.read_text() == "mine\n"


async def test_init_says_that_a_first_commit_is_needed(project: Project) -> None:
    assert "first commit" not in (await project.call("init", "--dry-run"))[1]
    git(project.repo, "checkout", "-q", "--orphan", "new")
    status, output = await project.call("init", "--dry-run")
    assert (status, "make a first commit" in output) == (0, True)
