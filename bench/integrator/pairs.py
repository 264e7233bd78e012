"""All pairs of branches: which of them conflict.

Ours is the radar's matrix; git itself is one process of `merge-tree` a pair; the plain way is to
check a branch out, merge the other without a commit, and abort. Of the two others some pairs are
timed, and all of them reckoned.
"""

import itertools
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from coord_integrator.matrix import TARGET, Head, Matrix
from coord_integrator.repository import Repository
from coord_integrator.scratch import open_scratch

from bench.integrator.branches import Branches, git, make_branches, more
from bench.report import Row, row

Judge = Callable[[str, str], None]

_MARK = "end-of-an-answer"
_ROUNDS, _MOVES = 5, 9
_BY_GIT, _PLAIN = 62, 12
_FILES, _MANY_FILES = 5_000, 40_000
_BRANCHES, _MANY_BRANCHES = 32, 128


async def run(state: Path) -> list[Row]:
    few = await _Radar.open(state / "few", _FILES, _BRANCHES)
    cold = [await few.cold_ms() for _ in range(_ROUNDS)]
    others = {"git": few.git_ms(), "plain": few.plain_ms()}
    edited = [await few.moved_ms(move, committed=False) for move in range(_MOVES)]
    moved = [await few.moved_ms(move, committed=True) for move in range(_MOVES)]
    await few.close()
    many = await _Radar.open(state / "many", _FILES, _MANY_BRANCHES)
    wide = [await many.cold_ms() for _ in range(_ROUNDS)]
    await many.close()
    large = await _Radar.open(state / "large", _MANY_FILES, _BRANCHES)
    big = [await large.cold_ms() for _ in range(_ROUNDS)]
    await large.close()
    count = _BRANCHES * (_BRANCHES - 1) // 2
    case = f"{_BRANCHES} branches, {count} pairs"
    plain = [others["plain"] / one for one in cold]
    ratio = [one / statistics.median(cold) for one in big]
    return [
        row(f"{case}, {_FILES:,} files, cold", "ms", cold, goal=100, less_is_better=True),
        row(f"{case}: git itself takes", "times", [others["git"] / one for one in cold]),
        row(f"{case}: the plain way takes", "times", plain, goal=500),
        row(f"{case}: one edited", "ms", edited, goal=15, less_is_better=True),
        row(f"{case}: one committed to", "ms", moved, goal=15, less_is_better=True),
        row(f"{_MANY_BRANCHES} branches, cold", "ms", wide, goal=1_000, less_is_better=True),
        row(f"{case}, {_MANY_FILES:,} files, cold", "ms", big),
        row("40,000 files to 5,000", "times", ratio, goal=3, less_is_better=True),
    ]


class _Radar:
    """The radar on a repository with branches, and the other ways on the same."""

    def __init__(self, branches: Branches, repository: Repository, scratch: Repository) -> None:
        self._branches = branches
        self._repository = repository
        self._scratch = scratch
        self._matrix = Matrix(scratch, _MARK)
        self._heads: dict[str, Head] = {}

    @classmethod
    async def open(cls, folder: Path, files: int, branches: int) -> "_Radar":
        made = make_branches(folder / "repo", files, branches)
        (folder / "integrator").mkdir()
        repository = await Repository.open(made.folder, folder / "integrator")
        radar = cls(made, repository, await open_scratch(repository))
        commits = {f"b{number}": commit for number, commit in enumerate(made.commits)}
        await radar._bring()
        radar._heads = {
            name: await radar._head(name, commit)
            for name, commit in {TARGET: made.base, **commits}.items()
        }
        return radar

    async def cold_ms(self) -> float:
        """Return how long a new matrix takes that knows nothing but the target."""
        await self.close()
        self._matrix = Matrix(self._scratch, _MARK)
        await self._matrix.update({TARGET: self._heads[TARGET]}, self._heads[TARGET].tree)
        branches = {name: head for name, head in self._heads.items() if name != TARGET}
        return await self._update_ms(branches)

    async def moved_ms(self, move: int, *, committed: bool) -> float:
        """Return how long it takes to judge one branch that has other files than before.

        Where they are not committed, as in a worktree that is edited, the branch stands where it
        stood.
        """
        name, commit = f"b{move}", more(self._branches, move, move + 100 * committed)
        await self._bring()
        head = await self._head(name, commit)
        self._heads[name] = head if committed else replace(head, head=self._heads[name].head)
        return await self._update_ms(self._heads)

    def git_ms(self) -> float:
        """Return how long all pairs take, a process of `merge-tree` each."""
        folder = self._branches.folder

        def judge(one: str, other: str) -> None:
            command = ("git", "merge-tree", "--write-tree", one, other)
            subprocess.run(command, cwd=folder, check=False, capture_output=True)

        return self._all_ms(judge, _BY_GIT)

    def plain_ms(self) -> float:
        """Return how long all pairs take by checkout, merge and abort."""
        folder = self._branches.folder.with_name("checkout")
        git(self._branches.folder, "worktree", "add", "-q", "--detach", str(folder), "main")

        def judge(one: str, other: str) -> None:
            git(folder, "checkout", "-q", "--detach", one)
            who = ("git", "-c", "user.name=U", "-c", "user.email=u@example.com")
            command = (*who, "merge", "-q", "--no-commit", "--no-ff", other)
            subprocess.run(command, cwd=folder, check=False, capture_output=True)
            git(folder, "merge", "--abort")

        return self._all_ms(judge, _PLAIN)

    async def close(self) -> None:
        await self._matrix.close()

    def _all_ms(self, judge: Judge, timed: int) -> float:
        pairs = list(itertools.combinations(self._branches.commits, 2))
        chosen: Sequence[tuple[str, str]] = Random(1).sample(pairs, timed)
        begin = time.perf_counter()
        for pair in chosen:
            judge(*pair)
        return (time.perf_counter() - begin) * 1_000 / timed * len(pairs)

    async def _update_ms(self, heads: dict[str, Head]) -> float:
        begin = time.perf_counter()
        await self._matrix.update(heads, self._heads[TARGET].tree)
        return (time.perf_counter() - begin) * 1_000

    async def _bring(self) -> None:
        source, refs = str(self._branches.folder), "+refs/heads/*:refs/coord/heads/*"
        await self._repository.own.run("fetch", "-q", source, refs)

    async def _head(self, name: str, commit: str) -> Head:
        return Head(name, commit, commit, await self._repository.tree(commit))
