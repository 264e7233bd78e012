"""What a glob matches, against git itself."""

import subprocess
from pathlib import Path

import pytest
from coord.guard import matches
from coord_runtime.globs import Comparison, folders, written_down
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.repositories import ENVIRONMENT, make_repository

_PARTS = ["a", "b", " ", "  ", "\\ ", "\t", "*", "?", "/", "/", "**", "\\*", "."]
_NAMES = ["a", "b", " ", "a ", " a", "a  ", "ab", "\ta", "*", "a b"]

_PATHS = [*_NAMES, *(f"{folder}/{name}" for folder in _NAMES for name in _NAMES)]

globs = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=7).map("".join)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("globs") / "repo")


def ignored(repo: Path, glob: str) -> set[str]:
    """Return the paths that git ignores by a glob."""
    (repo / ".gitignore").write_text(f"{glob}\n")
    command = ["git", "check-ignore", "--no-index", "-z", "--stdin"]
    done = subprocess.run(
        command,
        input="\0".join(_PATHS),
        cwd=repo,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.split("\0")) - {""}


def matched(glob: str) -> set[str]:
    """Return the paths that the guard takes a glob to match."""
    return {path for path in _PATHS if matches(written_down(glob), path.split("/"))}


def meeting(glob: str) -> set[str]:
    """Return the paths that meet a glob."""
    return {path for path in _PATHS if Comparison().may_meet(glob, literal(path))}


def literal(path: str) -> str:
    return "/" + "".join(f"\\{char}" if char in "*?[\\ " else char for char in path)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(globs)
def test_what_git_matches_is_matched_by_the_guard_and_meets(repo: Path, glob: str) -> None:
    by_git = ignored(repo, glob)
    assert by_git <= matched(glob)
    assert by_git <= meeting(glob)
    first = folders(glob)
    assert all(path.split("/")[: len(first)] == first for path in by_git)


@pytest.mark.parametrize("glob", ["a ", "a\\ ", "a\\  ", " a", "/ a/\\  ", "a b", "/a /b"])
def test_blanks_mean_what_they_mean_to_git(repo: Path, glob: str) -> None:
    by_git = ignored(repo, glob)
    assert by_git
    assert by_git == matched(glob)
