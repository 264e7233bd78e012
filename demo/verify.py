"""Checks by code what the demo promises. Needs git and Python alone.

python demo/verify.py REPO STATE [JOURNAL]
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECK = ["-m", "unittest", "discover", "-q", "-s", "tests", "-t", "."]


@dataclass(frozen=True)
class Line:
    """A line that an agent wrote: for which task, where, and what."""

    task: str
    path: str
    text: str


def lines_lost(repo: Path, state: Path, journal: Path) -> list[Line]:
    """Return the lines of a journal that nothing in git leads to.

    A line is kept if a blob holds it that can be reached from a branch, which the target is too, or
    from a ref below `refs/coord/wip`: in the user's repository, or in Coord's own below `state`.
    """
    kept = {line for place in _repositories(repo, state) for line in _reachable(place)}
    return [line for line in _journal(journal) if line.text not in kept]


def lines_written(journal: Path) -> int:
    """Return how many lines a journal has."""
    return len(_journal(journal))


def target_of(repo: Path) -> str:
    """Return the branch that the changes have landed on."""
    head = _git(repo, "symbolic-ref", "--short", "HEAD").strip()
    landing = f"coord/{head}"
    found = _git(repo, "for-each-ref", "--format=x", f"refs/heads/{landing}")
    return landing if found else head


def landed(repo: Path) -> Counter[str]:
    """Return how often each task's change is in the target's history."""
    log = _git(repo, "log", "--format=%(trailers:key=Coord-Task,valueonly)", target_of(repo))
    return Counter(line for line in log.splitlines() if line)


def red(repo: Path) -> str:
    """Run the project's tests on the target; return their output if they fail."""
    with tempfile.TemporaryDirectory() as folder:
        _git(repo, "archive", f"--output={folder}/tree.tar", target_of(repo))
        subprocess.run(["tar", "xf", "tree.tar"], cwd=folder, check=True)
        done = subprocess.run(
            [sys.executable, *CHECK], cwd=folder, capture_output=True, text=True, check=False
        )
    return done.stdout + done.stderr if done.returncode else ""


def _journal(path: Path) -> list[Line]:
    found = []
    for row in path.read_text().splitlines():
        fields = json.loads(row)
        found.append(Line(fields["task"], fields["path"], fields["line"]))
    return found


def _repositories(repo: Path, state: Path) -> list[Path]:
    # Not those for scratch, which lie deeper and are made anew at each start.
    return [repo, *state.glob("**/integrator/repo.git")]


def _reachable(repo: Path) -> Iterator[str]:
    """Yield the lines of all blobs that a branch or a wip ref leads to."""
    listed = _git(repo, "rev-list", "--objects", "--branches", "--glob=refs/coord/wip")
    names = {line.split(" ", 1)[0] for line in listed.splitlines()}
    for content in _blobs(repo, sorted(names)):
        yield from content.decode(errors="replace").splitlines()


def _blobs(repo: Path, names: list[str]) -> Iterator[bytes]:
    batch = subprocess.run(
        ["git", "-C", str(repo), "cat-file", "--batch"],
        input="".join(f"{name}\n" for name in names).encode(),
        capture_output=True,
        check=True,
    ).stdout
    at = 0
    while at < len(batch):
        end = batch.index(b"\n", at)
        _, kind, size = re.split(rb" ", batch[at:end])
        if kind == b"blob":
            yield batch[end + 1 : end + 1 + int(size)]
        at = end + int(size) + 2


def _git(repo: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repo), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
    return done.stdout


def main(repo: Path, state: Path, journal: Path | None = None) -> int:
    lost = lines_lost(repo, state, journal) if journal else []
    for line in lost:
        print(f"lost: {line.task}: {line.path}: {line.text}")
    twice = [task for task, count in landed(repo).items() if count > 1]
    for task in twice:
        print(f"landed more than once: {task}")
    output = red(repo)
    if output:
        print(f"{target_of(repo)} is red:\n{output}")
    return 1 if lost or twice or output else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
