"""The demo's checker finds what was lost, so that the tests that rely on it can fail."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from demo import verify


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    return path


def git(repo: Path, *args: str) -> None:
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    subprocess.run(["git", "-C", str(repo), *author, *args], check=True)


def commit(repo: Path, files: dict[str, str], message: str = "Change") -> None:
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", f"--message={message}")


def journal_of(folder: Path, *lines: str) -> Path:
    path = folder / "journal"
    fields = {"task": "t", "fencing_token": 1, "path": "file"}
    rows = [json.dumps({**fields, "line": line}) for line in lines]
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def lost(repo: Path, journal: Path) -> list[str]:
    return [line.text for line in verify.lines_lost(repo, repo.parent / "state", journal)]


def test_a_line_is_kept_by_a_branch_or_a_wip_ref_and_by_nothing_else(
    repo: Path, tmp_path: Path
) -> None:
    commit(repo, {"file": "on main\n"})
    commit(repo, {"file": "replaced since\n"})
    commit(repo, {"file": "in the working tree of a wip ref\n"})
    git(repo, "update-ref", "refs/coord/wip/w1/1", "HEAD")
    git(repo, "reset", "--quiet", "--hard", "HEAD~1")
    commit(repo, {"file": "on nothing\n"})
    git(repo, "reset", "--quiet", "--hard", "HEAD~1")
    kept = ("on main", "replaced since", "in the working tree of a wip ref")
    journal = journal_of(tmp_path, *kept, "on nothing", "never written")
    assert lost(repo, journal) == ["on nothing", "never written"]


def test_coords_own_repository_keeps_lines_too(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"file": "copied\n"})
    own = tmp_path / "state" / "integrator" / "repo.git"
    git(repo, "clone", "--quiet", "--bare", str(repo), str(own))
    commit(repo, {"file": "first\n"}, "Change")
    git(repo, "update-ref", "-d", "refs/heads/main")
    assert lost(repo, journal_of(tmp_path, "copied", "first")) == ["first"]


def test_a_task_that_landed_twice_is_counted(repo: Path) -> None:
    commit(repo, {"file": "a\n"}, "Once\n\nCoord-Task: t")
    git(repo, "branch", "coord/main")
    assert verify.landed(repo) == {"t": 1}
    git(repo, "switch", "--quiet", "coord/main")
    commit(repo, {"file": "b\n"}, "Again\n\nCoord-Task: t")
    git(repo, "switch", "--quiet", "main")
    assert verify.landed(repo) == {"t": 2}


def test_what_is_done_has_landed_once_and_nothing_else_has(repo: Path) -> None:
    for task in ("once", "twice", "twice", "undone"):
        commit(repo, {"file": f"{task} {os.urandom(8).hex()}\n"}, f"Land\n\nCoord-Task: {task}")
    assert verify.landed_otherwise(repo, {"never", "once", "twice"}) == [
        "never is done, and has landed 0 times",
        "twice is done, and has landed 2 times",
        "undone is not done, and has landed 1 times",
    ]


def test_lines_of_what_is_done_are_on_the_targets_tip(repo: Path, tmp_path: Path) -> None:
    commit(repo, {"file": "stays\ngone again\n", "other": "elsewhere\n"})
    commit(repo, {"file": "stays\n"})
    journal = journal_of(tmp_path, "stays", "gone again", "elsewhere", "on a wip ref")

    def missing(attempts: set[tuple[str, int]]) -> list[str]:
        return [line.text for line in verify.lines_missing(repo, journal, attempts)]

    assert missing({("t", 1)}) == ["gone again", "elsewhere", "on a wip ref"]
    assert missing({("t", 2), ("u", 1)}) == []


def test_an_attempt_that_has_landed_is_told_by_its_commit(repo: Path) -> None:
    commit(repo, {"file": "a\n"}, "Add\n\nCoord-Task: t\nCoord-Worker: w1\nCoord-Attempt: 17")
    commit(repo, {"file": "b\n"})
    assert verify.landed_attempts(repo) == {("t", 17)}


def test_red_tests_are_told(repo: Path) -> None:
    case = "from unittest import TestCase\n\n\nclass T(TestCase):\n    def test_it(self):\n        "
    commit(repo, {"tests/__init__.py": "", "tests/test_it.py": case + "assert True\n"})
    assert verify.red(repo) == ""
    commit(repo, {"tests/test_it.py": case + "assert False\n"})
    assert "test_it" in verify.red(repo)
    # Whoever has landed that has broken main, also where the next one has mended it.
    commit(repo, {"tests/test_it.py": case + "assert 2\n"})
    assert "test_it" in verify.red(repo)
