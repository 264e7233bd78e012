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
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

CHECK = ["-m", "unittest", "discover", "-q", "-s", "tests", "-t", "."]
# Two tasks change the same line of it, one after the other; the project's tests look for both.
_SHARED = "textkit/registry.py"
# What the commits that land a change say of it.
_TRAILERS = ("Coord-Task", "Coord-Attempt")

# A task and its attempt's fencing token.
Attempt = tuple[str, int]


@dataclass(frozen=True)
class Line:
    """A line that an agent wrote: in which attempt, where, and what."""

    attempt: Attempt
    path: str
    text: str


def problems(
    repo: Path, state: Path, journal: Path | None, completed: Mapping[str, int] | None = None
) -> list[str]:
    """Tell of all that should not be so once a run has ended.

    Args:
        repo: The project.
        state: Coord's state.
        journal: What agents have written; None where nobody has noted it.
        completed: The fencing token of the attempt that completed each task; None where it is not
            known what is done.
    """
    done = landed(repo).keys() if completed is None else completed.keys()
    found = landed_otherwise(repo, done)
    if journal:
        attempts = {*landed_attempts(repo), *(completed or {}).items()}
        lost, missing = lines_lost(repo, state, journal), lines_missing(repo, journal, attempts)
        found += [f"lost: {line.attempt[0]}: {line.path}: {line.text}" for line in lost]
        found += [f"not landed: {line.attempt[0]}: {line.path}: {line.text}" for line in missing]
    if output := red(repo):
        found.append(f"{target_of(repo)} is, or was, red: {output}")
    return found


def landed_otherwise(repo: Path, done: AbstractSet[str]) -> list[str]:
    """Tell of tasks that are done and have not landed once, or have landed and are not done."""
    counts = landed(repo)
    return [
        f"{task} is {'' if task in done else 'not '}done, and has landed {counts[task]} times"
        for task in sorted(counts.keys() | done)
        if counts[task] != (task in done)
    ]


def lines_lost(repo: Path, state: Path, journal: Path) -> list[Line]:
    """Return the lines of a journal that nothing in git leads to.

    A line is kept if a blob holds it that can be reached from a branch, which the target is too, or
    from a ref below `refs/coord/wip`: in the user's repository, or in Coord's own below `state`.
    """
    kept = {line for place in _repositories(repo, state) for line in _reachable(place)}
    return [line for line in _journal(journal) if line.text not in kept]


def lines_missing(repo: Path, journal: Path, attempts: AbstractSet[Attempt]) -> list[Line]:
    """Return the lines of attempts that are not where they were written, on the target's tip.

    Args:
        repo: The project.
        journal: What agents have written.
        attempts: Those whose work is done. No task of the demo changes the lines of another, but in
            the file that two of them share.
    """
    present = set(_lines_of_tip(repo))
    return [
        line
        for line in _journal(journal)
        if line.attempt in attempts
        and line.path != _SHARED
        and (line.path, line.text) not in present
    ]


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


def landed_attempts(repo: Path) -> set[Attempt]:
    """Return the attempts whose changes are in the target's history."""
    keys = (f"%(trailers:key={key},valueonly,separator=%x2C)" for key in _TRAILERS)
    log = _git(repo, "log", f"--format={' '.join(keys)}", target_of(repo))
    rows = [line.split() for line in log.splitlines()]
    return {(row[0], int(row[1])) for row in rows if len(row) == len(_TRAILERS)}


def red(repo: Path) -> str:
    """Run the project's tests on each commit that was the target's tip, as its reflog tells.

    Returns:
        The first one on which they fail, and their output; empty if there is none.
    """
    target = target_of(repo)
    tips = [target, *_git(repo, "log", "--walk-reflogs", "--format=%H", target).split()]
    outputs = ((tip, _output_if_red(repo, tip)) for tip in reversed(tips))
    return next((f"{tip}:\n{output}" for tip, output in outputs if output), "")


def _output_if_red(repo: Path, commit: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        _git(repo, "archive", f"--output={folder}/tree.tar", commit)
        subprocess.run(["tar", "xf", "tree.tar"], cwd=folder, check=True)
        done = subprocess.run(
            [sys.executable, *CHECK], cwd=folder, capture_output=True, text=True, check=False
        )
    return done.stdout + done.stderr or "no output" if done.returncode else ""


def _journal(path: Path) -> list[Line]:
    found = []
    for row in path.read_text().splitlines():
        fields = json.loads(row)
        attempt = fields["task"], fields.get("fencing_token", 0)
        found.append(Line(attempt, fields["path"], fields["line"]))
    return found


def _lines_of_tip(repo: Path) -> Iterator[tuple[str, str]]:
    """Yield path and content of each line of the target's tip."""
    listed = _git(repo, "ls-tree", "-r", "-z", target_of(repo)).split("\0")[:-1]
    entries = [row.split("\t", 1) for row in listed]
    blobs = _blobs(repo, [fields.split()[2] for fields, _ in entries])
    for (_, path), content in zip(entries, blobs, strict=True):
        yield from ((path, line) for line in content.decode(errors="replace").splitlines())


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
    found = problems(repo, state, journal)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
