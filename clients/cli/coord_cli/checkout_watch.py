"""Notices what changes in the user's checkout during a run, though nothing of Coord's wrote it.

Agents work in worktrees; one that knows another path can write elsewhere all the same. That is
told, and left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coord.times import timestamp_ns
from coord.v1 import queue_pb2

from coord_cli.git import git, git_items
from coord_cli.snapshot import FINAL, WORKING, Snapshot

# Kernels stamp files with the time of their last tick, so earlier than it is.
_COARSE_NS = 10_000_000
# When a file was written, and its size in bytes; None where there is none.
_Stamp = tuple[int, int] | None


@dataclass(frozen=True)
class Stray:
    """A file of the checkout that has changed.

    Attributes:
        path: Where, below the checkout.
        tasks: The tasks that were at work when it was written; where its time says nothing, those
            that were when it was found, or whose agents had just ended.
    """

    path: str
    tasks: Sequence[str]


class CheckoutWatch:
    """Watches a checkout from now on.

    Args:
        repo: The checkout.
        target: The branch that changes land on; empty for that of HEAD.
    """

    def __init__(self, repo: Path, target: str) -> None:
        self._repo = repo
        branch = target or git(repo, "symbolic-ref", "--quiet", "--short", "HEAD")
        self._landed = ("HEAD", f"refs/heads/coord/{branch}")
        self._before = self._look()
        self._found: dict[str, Stray] = {}
        self._ended: frozenset[str] = frozenset()
        self._at_work: frozenset[str] = frozenset()
        self._tasks: Sequence[queue_pb2.Task] = ()

    def note(self, snapshot: Snapshot) -> None:
        """Look again where tasks have ended since the last time."""
        ended = frozenset(one.spec.id for one in snapshot.tasks if one.state in FINAL)
        working = frozenset(one.spec.id for one in snapshot.tasks if one.state in WORKING)
        self._at_work |= working | (ended - self._ended)
        self._tasks = snapshot.tasks
        if ended - self._ended:
            self._search()
            self._ended, self._at_work = ended, working

    def strays(self) -> list[Stray]:
        """Look a last time; return what has changed and was not brought along by a landing."""
        self._search()
        return [one for one in self._found.values() if not self._is_landed(one.path)]

    def _search(self) -> None:
        now = self._look()
        for path in sorted(self._before.keys() | now.keys()):
            stamp = self._stamp(path)
            if path not in self._before or self._before[path] != stamp:
                self._found.setdefault(path, Stray(path, self._suspects(stamp)))

    def _suspects(self, stamp: _Stamp) -> list[str]:
        there = sorted(self._at_work)
        if stamp is None:
            return there
        then = {one.spec.id for one in self._tasks if _was_at_work(one, stamp[0])}
        # An agent may have set the file's time.
        return [task for task in there if task in then] or there

    def _look(self) -> dict[str, _Stamp]:
        """Return the files that git sees as changed or new."""
        flags = ("--porcelain=v2", "-z", "--untracked-files=all", "--no-renames")
        items = git_items(self._repo, "status", *flags)
        return {path: self._stamp(path) for path in map(_path, items)}

    def _stamp(self, path: str) -> _Stamp:
        try:
            state = (self._repo / path).lstat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size

    def _is_landed(self, path: str) -> bool:
        """Tell whether a file is as it was committed or has landed, maybe a moment ago.

        What the user had changed before is never brought along.
        """
        if path in self._before:
            return False
        names = [f"{commit}:{path}" for commit in self._landed]
        there = {git(self._repo, "rev-parse", "--verify", "--quiet", name) for name in names}
        if self._stamp(path) is None:
            return "" in there
        return git(self._repo, "hash-object", "--", path) in there - {""}


def _was_at_work(task: queue_pb2.Task, at_ns: int) -> bool:
    return any(_agent_was_there(attempt, at_ns) for attempt in task.attempts)


def _agent_was_there(attempt: queue_pb2.Attempt, at_ns: int) -> bool:
    begun_ns = timestamp_ns(attempt.assigned_at)
    ended_ns = timestamp_ns(attempt.submitted_at) or timestamp_ns(attempt.ended_at)
    return begun_ns - _COARSE_NS <= at_ns and (not ended_ns or at_ns <= ended_ns)


def _path(item: str) -> str:
    """Return the path of an item of `git status --porcelain=v2`, which ends it."""
    fields = {"1": 8, "u": 10, "?": 1}[item[0]]
    return item.split(" ", fields)[fields]
