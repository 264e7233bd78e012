"""A git made of sets, what the integrator asks of it, and the user in it.

A tree is the set of the changes in it. A set fails the check if it holds a bad change, or two that
clash. Whatever the integrator waits for takes some time, and never comes back once its process is
killed.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

from coord_integrator.commands import CommandResult
from coord_integrator.merging import Extent, Merge
from coord_integrator.target import Standing

# Long enough that many a kill comes in between.
_MOVE_S = 0.3


@dataclass
class Truth:
    """What is the matter with changes.

    Attributes:
        bad: Those that fail alone.
        clashes: Pairs that fail together.
        conflicts: Pairs that do not merge.
        flake: Share of the runs that are red for no reason.
    """

    bad: set[str] = field(default_factory=set)
    clashes: set[frozenset[str]] = field(default_factory=set)
    conflicts: set[frozenset[str]] = field(default_factory=set)
    flake: float = 0.0

    def is_bad(self, change: str) -> bool:
        return change in self.bad

    def clash(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.clashes

    def conflict(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.conflicts

    def is_sound(self, changes: frozenset[str]) -> bool:
        names = sorted(changes)
        if any(map(self.is_bad, names)):
            return False
        return not any(
            self.clash(one, other) for place, one in enumerate(names) for other in names[:place]
        )

    def merges(self, change: str, others: Iterable[str]) -> bool:
        return not any(self.conflict(change, other) for other in others)


class DrawnTruth(Truth):
    """Faults of changes that nobody knows beforehand: each is drawn from its name.

    What an attempt changes bit by bit, such as `t1@7.1` and `t1@7.2`, is of one kind.
    """

    def __init__(
        self, seed: int, *, bad: float, clash: float, conflict: float, flake: float
    ) -> None:
        super().__init__(flake=flake)
        self._shares = {"bad": bad, "clash": clash, "conflict": conflict}
        self._drawn = cache(lambda what, name: crc32(f"{seed}/{what}/{name}".encode()) / 2**32)

    def is_bad(self, change: str) -> bool:
        return change in self.bad or self._drawn("bad", _work(change)) < self._shares["bad"]

    def clash(self, one: str, other: str) -> bool:
        return self._differ("clash", one, other)

    def conflict(self, one: str, other: str) -> bool:
        return self._differ("conflict", one, other)

    def _differ(self, what: str, one: str, other: str) -> bool:
        works = _work(one), _work(other)
        return works[0] != works[1] and self._drawn(what, _pair(*works)) < self._shares[what]


@dataclass
class Folder:
    """A worker's worktree on disk.

    Attributes:
        branch: Its branch.
        base: The commit that it was reset to.
        files: What is in it.
    """

    branch: str
    base: str
    files: frozenset[str]


class Repository:
    """A git made of sets, and the user in it.

    Attributes:
        contents: The changes in each commit.
        parents: The parent of each commit but the first.
        at: Where the target stands.
        landings: What has landed, in order.
        folders: The worktrees by worker.
        kept: The commits under wip refs.
        broken: Promises that were seen broken.
        unleased: Says which of the changes that land lacked their lease, as far as somebody looks.
        agent: Says which attempt's agent is at work in a worker's worktree, likewise.
    """

    def __init__(self, truth: Truth) -> None:
        self.unleased: Callable[[Iterable[str]], list[str]] = lambda _: []
        self.agent: Callable[[str], str] = lambda _: ""
        self.truth = truth
        self.contents: dict[str, frozenset[str]] = {"root": frozenset()}
        self.parents: dict[str, str] = {}
        self.at = "root"
        self.landings: list[str] = []
        self.folders: dict[str, Folder] = {}
        self.kept: dict[str, str] = {}
        self.broken: list[str] = []

    def commit(self, changes: frozenset[str], parent: str) -> str:
        name = f"commit-{len(self.contents)}"
        self.contents[name], self.parents[name] = changes, parent
        return name

    def history(self, commit: str) -> Iterator[str]:
        """Yield a commit and all before it, newest first."""
        yield commit
        while commit in self.parents:
            commit = self.parents[commit]
            yield commit

    def merge_base(self, one: str, other: str) -> str:
        before = set(self.history(other))
        return next(commit for commit in self.history(one) if commit in before)

    def user_commits(self, change: str) -> None:
        self.at = self.commit(self.contents[self.at] | {change}, self.at)

    def user_reverts(self, change: str) -> None:
        self.at = self.commit(self.contents[self.at] - {change}, self.at)

    def moved(self, new: str, old: str) -> bool:
        if self.at != old:
            return False
        if not self.truth.is_sound(self.contents[new]):
            self.broken.append(f"the target is red: {sorted(self.contents[new])}")
        landing = sorted(self.contents[new] - self.contents[self.at])
        self.broken += self.unleased(landing)
        self.landings += landing
        self.at = new
        return True

    def lose(self, worker: str) -> None:
        """Let go of what a worktree holds: it must be kept, or have landed, and nobody be in it."""
        if agent := self.agent(worker):
            self.broken.append(f"the worktree of {worker} is taken from {agent}")
        folder = self.folders.pop(worker, None)
        if folder is None:
            return
        safe = {one for commit in self.kept.values() for one in self.contents[commit]}
        lost = folder.files - self.contents[folder.base] - self.contents[self.at] - safe
        if lost:
            self.broken.append(f"work of {worker} was lost: {sorted(lost)}")


def tree_of(changes: frozenset[str]) -> str:
    return ",".join(sorted(changes))


def changes_of(tree: str) -> frozenset[str]:
    return frozenset(filter(None, tree.split(",")))


@dataclass
class Process:
    """One life of the integrator; what it calls hangs once it is dead."""

    repository: Repository
    chance: Random
    is_full: Callable[[], bool] = lambda: False
    is_dead: bool = False
    folder: Path = Path("/nowhere")

    def crash(self) -> None:
        self.is_dead = True

    async def wait(self, longest_s: float = 0.02) -> None:
        await asyncio.sleep(self.chance.uniform(0, longest_s))
        if self.is_dead:
            await asyncio.Event().wait()

    async def write(self) -> None:
        await self.wait()
        if self.is_full():
            raise OSError(errno.ENOSPC, "the disk is full")

    # What stands for the repository, in a process that can be killed before and after.

    def full_disk(self) -> str:
        return "the disk is full" if self.is_full() else ""

    async def tree(self, commit: str) -> str:
        return tree_of(self.repository.contents[commit])

    async def is_ancestor(self, old: str, new: str) -> bool:
        return old in self.repository.history(new)

    async def merge_base(self, one: str, other: str) -> str | None:
        return self.repository.merge_base(one, other)

    async def holds(self, commit: str, tip: str) -> bool:
        del tip
        return commit in self.repository.contents

    async def changes_nothing(self, commit: str, tip: str) -> bool:
        base = self.repository.merge_base(commit, tip)
        return self.repository.contents[commit] == self.repository.contents[base]

    async def kept_commit(self, ref: str) -> str | None:
        return self.repository.kept.get(ref)

    async def parent(self, commit: str) -> str:
        return self.repository.parents.get(commit, commit)

    async def hand_over(self, commit: str, ref: str) -> None:
        del commit, ref
        await self.wait()

    async def move_branch(self, branch: str, new: str, old: str | None, why: str) -> bool:
        del branch, why
        await self.wait(_MOVE_S)
        moved = self.repository.moved(new, old or "")
        await self.wait(_MOVE_S)
        return moved


class FakeTarget:
    branch = "main"
    is_recorded = True
    seen = None

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self) -> Standing:
        at = self._process.repository.at
        return Standing("main", at, at, at, diverged=False)

    async def holder(self, branch: str) -> str:
        del branch
        return ""

    async def follow(self, standing: Standing) -> bool:
        return standing.at == standing.tip

    @asynccontextmanager
    async def about_to_move(self, branch: str, new: str) -> AsyncIterator[None]:
        del branch, new
        yield


class FakeMerger:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def merge(self, ours: str, theirs: str, labels: tuple[str, str]) -> Merge:
        del labels
        await self._process.wait()
        repository = self._process.repository
        base = repository.contents[repository.merge_base(ours, theirs)]
        mine, added = repository.contents[ours], repository.contents[theirs] - base
        if not all(repository.truth.merges(change, mine - base) for change in sorted(added)):
            return Merge("", ("file",), "hunks")
        return Merge(tree_of(mine | added))

    async def commit(self, tree: str, parents: tuple[str, ...], message: str) -> str:
        del message
        return self._process.repository.commit(changes_of(tree), parents[0])

    async def extent(self, old: str, new: str) -> Extent:
        contents = self._process.repository.contents
        added = sorted(contents[new] - contents[old])
        return Extent(len(added), 0, tuple(f"src/{change}" for change in added))


class FakeChecker:
    command = "check"
    environment = "here"

    def __init__(self, process: Process) -> None:
        self._process = process
        self.repository = process

    async def run(self, commit: str) -> CommandResult:
        repository = self._process.repository
        await asyncio.sleep(self._process.chance.uniform(0.8, 1.2))
        await self._process.wait()
        flaky = self._process.chance.random() < repository.truth.flake
        passed = repository.truth.is_sound(repository.contents[commit]) and not flaky
        return CommandResult(0 if passed else 1, f"tested {tree_of(repository.contents[commit])}")


class FakeCheckout:
    async def repair(self) -> None:
        """Nothing is checked out."""

    async def follow(self, standing: Standing) -> bool:
        del standing
        return False


def _work(change: str) -> str:
    return change.partition(".")[0]


def _pair(one: str, other: str) -> str:
    return f"{min(one, other)}|{max(one, other)}"
