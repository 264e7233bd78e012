"""Compares the radar with git itself on random branches and worktrees.

python -m tests.integration.merge_fuzz [--pairs N] [--seed N]
"""

import argparse
import asyncio
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from coord.v1 import common_pb2
from coord_integrator.glances import Glances
from coord_integrator.matrix import TARGET, Head, Matrix
from coord_integrator.repository import Repository
from coord_integrator.scratch import open_scratch

from tests.integration.random_files import Files, change, first_files, write_files

_BRANCHES, _WORKTREES, _MOVED = 12, 2, 3
_MARK = "end-of-an-answer"

Outcome = tuple[bool, tuple[str, ...]]


@dataclass
class Line:
    """A branch: its files, and the commit that has them."""

    name: str
    files: Files
    commit: str = ""


@dataclass
class World:
    """A repository with branches that differ at random, and worktrees that are not committed."""

    folder: Path
    random: Random
    lines: list[Line] = field(default_factory=list)
    target: Line = field(default_factory=lambda: Line("main", {}))
    stream: list[bytes] = field(default_factory=list)
    marks: int = 0

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def make(self) -> None:
        self.repo.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.target = Line("main", first_files(self.random))
        self.commit(self.target)
        base = self.target.commit
        self.lines = [
            Line(f"w{number:02}", dict(self.target.files), base) for number in range(_BRANCHES)
        ]
        for line in self.lines:
            self.go_on(line)
            if self.random.random() < 0.3:
                self.cross(line, self.random.choice(self.lines))
        self.go_on(self.target)

    def go_on(self, line: Line) -> None:
        """Commit some changes."""
        change(line.files, self.random)
        self.commit(line, line.commit)

    def cross(self, one: Line, other: Line) -> None:
        """Let two branches merge each other's last commits, each with its own files."""
        ours, theirs = one.commit, other.commit
        self.commit(one, ours, theirs)
        self.commit(other, theirs, ours)
        self.go_on(one)
        self.go_on(other)

    def commit(self, line: Line, *parents: str) -> None:
        """Note a commit; `store` makes it."""
        self.marks += 1
        line.commit = f":{self.marks}"
        parts = [f"commit refs/heads/{line.name}", f"mark {line.commit}"]
        parts += ["committer U <u@example.org> 1700000000 +0000", "data 4", "work"]
        parts += [f"{'merge' if place else 'from'} {one}" for place, one in enumerate(parents)]
        self.stream.append("\n".join([*parts, "deleteall", ""]).encode())
        for path, (mode, text) in line.files.items():
            inline = b"M %s inline %s\ndata %d\n%s\n"
            self.stream.append(inline % (mode, path.encode(), len(text), text))

    def store(self) -> None:
        """Make what was noted, and check the target out."""
        marks = self.folder / "marks"
        flags = ("--quiet", "--force", f"--import-marks-if-exists={marks}")
        self.git("fast-import", *flags, f"--export-marks={marks}", stdin=b"".join(self.stream))
        self.stream.clear()
        known = dict(line.split() for line in marks.read_text().splitlines())
        for line in (self.target, *self.lines):
            line.commit = known.get(line.commit, line.commit)
        self.git("reset", "-q", "--hard", self.target.commit)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return run_git(self.repo, *arguments, stdin=stdin)


def run_git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    who = ("-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "core.quotePath=false")
    done = subprocess.run(
        ("git", *who, *arguments), cwd=folder, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout.decode().rstrip("\n")


class Comparison:
    """The radar's way and git's own, on one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        folder = self.world.folder / "integrator"
        folder.mkdir()
        self._repository = await Repository.open(self.world.repo, folder)
        scratch = await open_scratch(self._repository)
        self._matrix = Matrix(scratch, _MARK)
        self._glances = Glances(self._repository, scratch, self._matrix.footprints)
        await self._glances.open()
        try:
            await self._compare(await self._heads())
            for line in self.world.random.sample(self.world.lines, _MOVED):
                self.world.go_on(line)
            await self._compare(await self._heads())
        finally:
            await self._glances.close()
            await self._matrix.close()
        self.counts["apart"] = self._matrix.counts.apart

    async def _heads(self) -> dict[str, Head]:
        self.world.store()
        lines = {TARGET: self.world.target, **{line.name: line for line in self.world.lines}}
        own = self._repository.own
        await own.run("fetch", "-q", str(self.world.repo), "+refs/heads/*:refs/coord/heads/*")
        trees = await own.text("rev-parse", *(f"{line.commit}^{{tree}}" for line in lines.values()))
        heads = {
            name: Head(name, line.commit, line.commit, tree)
            for (name, line), tree in zip(lines.items(), trees.split(), strict=True)
        }
        for number in range(_WORKTREES):
            line = self.world.lines[number]
            heads[line.name] = await self._dirty(line)
        return heads

    async def _dirty(self, line: Line) -> Head:
        """Return a worktree on a branch's commit with changes that are not committed."""
        name, folder = line.name, self.world.folder / line.name
        if folder.exists():
            self.world.git("worktree", "remove", "-f", str(folder))
        self.world.git("worktree", "add", "-q", "--detach", str(folder), line.commit)
        files = dict(line.files)
        change(files, self.world.random)
        write_files(folder, files)
        attempt = common_pb2.AttemptRef(task_id=name, fencing_token=1)
        head = await self._glances.look(name, folder, attempt)
        assert head is not None
        run_git(folder, "add", "-A")
        assert head.tree == run_git(folder, "write-tree"), name
        return head

    async def _compare(self, heads: dict[str, Head]) -> None:
        await self._matrix.update(heads, heads[TARGET].tree)
        pairs = list(itertools.combinations(sorted(heads), 2))
        commits = [(heads[one].commit, heads[other].commit) for one, other in pairs]
        for pair, theirs in zip(pairs, self._by_git(commits), strict=True):
            verdict = self._matrix.conflicts.get(pair)
            ours = (verdict is None, tuple(verdict.files) if verdict else ())
            # Of a folder whose renaming it cannot make out, git tells in words alone.
            same = ours == theirs if theirs[1] else ours[0] == theirs[0]
            assert same, (self.world.folder, pair, ours, theirs)
            self.counts["conflicts"] += not theirs[0]
        self.counts["pairs"] += len(pairs)

    def _by_git(self, pairs: list[tuple[str, str]]) -> list[Outcome]:
        """Merge in the checkout of the target, so that git finds its attributes there."""
        try:
            return self._asked(pairs)
        except subprocess.CalledProcessError as error:
            # Some pairs make git fail by an assertion of its own: nothing can land then.
            if error.returncode != -signal.SIGABRT:
                raise
            if len(pairs) == 1:
                self.counts["failures"] += 1
                return [(False, ())]
            middle = len(pairs) // 2
            return [*self._by_git(pairs[:middle]), *self._by_git(pairs[middle:])]

    def _asked(self, pairs: list[tuple[str, str]]) -> list[Outcome]:
        borrowed = self.world.folder / "integrator" / "radar" / "repo.git" / "objects"
        done = subprocess.run(
            ("git", "merge-tree", "--write-tree", "--name-only", "-z", "--stdin"),
            cwd=self.world.repo,
            env={"PATH": os.environ["PATH"], "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(borrowed)},
            input="".join(f"{one} {other}\n" for one, other in pairs).encode(),
            capture_output=True,
            check=True,
        )
        items = iter(done.stdout.decode().split("\0"))
        return [_outcome(items) for _ in pairs]


def _outcome(items: Iterator[str]) -> Outcome:
    clean, _ = next(items) == "1", next(items)
    sections = [list(iter(items.__next__, "")) for _ in range(1 if clean else 2)]
    # Where a file and a folder meet, git gives one of them a name with its commit.
    files = {re.sub("~[0-9a-f]{40}$", "", path) for path in sections[0]}
    return clean, () if clean else tuple(sorted(files))


async def compare(pairs: int, seed: int) -> Counter[str]:
    """Compare at least so many pairs of heads."""
    counts: Counter[str] = Counter()
    while counts["pairs"] < pairs:
        folder = Path(tempfile.mkdtemp(prefix="merge-fuzz-"))
        comparison = Comparison(World(folder, Random(seed)))
        comparison.world.make()
        await comparison.run()
        counts += comparison.counts
        seed += 1
        shutil.rmtree(folder)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the radar with git itself.")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    counts = asyncio.run(compare(chosen.pairs, chosen.seed))
    print(  # noqa: T201 - a program's answer.
        f"{counts['pairs']} pairs, {counts['conflicts']} of them conflict,"
        f" {counts['apart']} were told apart by the filter: the radar agrees with git"
    )


if __name__ == "__main__":
    main()
