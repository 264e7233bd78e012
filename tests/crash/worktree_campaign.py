"""Kills the services at random while agents do in worktrees what they should and should not do.

`make crash-worktrees HISTORIES=500` runs seeds 0 to 499. Each line that was on disk at a kill, and
is not ignored, has to be reachable at the end: from the target, a branch or a wip ref.
"""

import argparse
import asyncio
import itertools
import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatch
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import grpc.aio
import structlog
from coord.client import connect
from coord_runtime.tokens import Kind, Principal

from demo import verify
from tests.crash.unruly_agent import IGNORED, UnrulyAgent
from tests.integrator_rig import PROJECT, Rig, git, make_repository

_WORKERS = ("w1", "w2", "w3")
_ACTS_MAX = 8
# How many set-ups and ends of attempts the services live to see, and for how long after that.
_STEPS_MAX = 16
_AFTER_S = 0.2
_HISTORY_S = 600
_TELL_EVERY = 25
# A fork of a process that has imported everything: services start within milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.integrator_rig"])


class History:
    """One seeded history.

    Args:
        folder: Where the repository and the state are to be; nothing else is there.
        seed: Decides what agents do, and when the services are killed.

    Attributes:
        kills: How often the services were killed.
        acts: What agents have done, and how often.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        files = dict.fromkeys(("a.txt", "b.txt", "docs/c.md"), "begun\n")
        repo = make_repository(folder / "repo", {".gitignore": f"{IGNORED}\n", **files})
        settings = {"check": "test -e a.txt", "target": "main"}
        self.kills = 0
        self.acts: Counter[str] = Counter()
        self._chance = Random(seed)
        self._numbers = itertools.count(1_000_000 * (seed + 1))
        self._rig = Rig(repo, folder / "state", settings, lease_s=600.0)
        self._tasks = itertools.count(1)
        self._journal = folder / "journal"
        self._seen: set[str] = set()
        self._steps = asyncio.Semaphore(0)

    async def run(self) -> list[str]:
        """Run the history; return what is wrong with it."""
        for _ in range(self._chance.randint(1, 3)):
            await self._live_and_die()
        async with self._services():
            for worker in _WORKERS:
                await self._rig.begin(worker, self._next_task())
                await self._rig.teardown(worker)
        return [*self._lost(), *self._left()]

    async def _live_and_die(self) -> None:
        """Let agents work until the services are killed at once; see what is on disk then."""
        async with self._services() as process:
            self._steps = asyncio.Semaphore(0)
            working = [asyncio.ensure_future(self._work(worker)) for worker in _WORKERS]
            enough = asyncio.ensure_future(self._see_steps(self._chance.randint(0, _STEPS_MAX)))
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({enough, *working}, timeout=_HISTORY_S, return_when=first)
            await asyncio.sleep(self._chance.uniform(0, _AFTER_S))
            process.kill()
            self.kills += 1
            self._look()
            for one in (enough, *working):
                one.cancel()
            for result in await asyncio.gather(*working, return_exceptions=True):
                _check_expected(result)

    async def _see_steps(self, count: int) -> None:
        for _ in range(count):
            await self._steps.acquire()

    @asynccontextmanager
    async def _services(self) -> AsyncIterator["multiprocessing.context.ForkServerProcess"]:
        here, there = _FORKS.Pipe()
        process = _FORKS.Process(
            target=_serve, args=(replace(self._rig, channel=None), there), daemon=True
        )
        process.start()
        there.close()
        try:
            address, token = await asyncio.to_thread(here.recv)
            async with connect(address, token) as self._rig.channel:
                yield process
        finally:
            process.kill()
            await asyncio.to_thread(process.join)
            here.close()

    async def _work(self, worker: str) -> None:
        """Do one task after the other, each as the next attempt in the same worktree."""
        while True:
            task = self._next_task()
            folder = await self._rig.begin(worker, task)
            self._steps.release()
            agent = UnrulyAgent(folder, self._chance, self._numbers)
            for _ in range(self._chance.randint(1, _ACTS_MAX)):
                self.acts[agent.act()] += 1
                await asyncio.sleep(0)
            await self._end(worker, task)
            self._steps.release()

    async def _end(self, worker: str, task: str) -> None:
        """Land what is there, save it, remove the worktree, collect garbage, or just go on."""
        match self._chance.choice(("submit", "submit", "save", "remove", "collect", "go on")):
            case "submit":
                with suppress(grpc.aio.AioRpcError):
                    await self._rig.submit(worker, task)
            case "save":
                await self._rig.snapshot(worker)
            case "remove":
                await self._rig.teardown(worker)
            case "collect":
                # Git refuses where it collects already.
                with suppress(subprocess.CalledProcessError):
                    git(self._rig.repo, "gc", "-q", "--prune=now")

    def _next_task(self) -> str:
        return f"t{next(self._tasks)}"

    def _look(self) -> None:
        """Note the lines that are on disk and not ignored."""
        self._seen.update(_lines(self._rig.state / "worktrees"))

    def _lost(self) -> Iterator[str]:
        rows = [{"task": "", "path": "", "line": line} for line in sorted(self._seen)]
        self._journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        # Where git can keep nothing of a worktree, it is moved away instead.
        moved = set(_lines(self._rig.state / "worktrees" / ".unkept"))
        for line in verify.lines_lost(self._rig.repo, self._rig.state, self._journal):
            if line.text not in moved:
                yield f"lost: {line.text}"

    def _left(self) -> Iterator[str]:
        """Yield the worktrees that are left although all were removed."""
        listed = git(self._rig.repo, "worktree", "list", "--porcelain").split("\n\n")
        yield from (f"left: {one.splitlines()[0]}" for one in listed[1:])


def _serve(rig: Rig, pipe: Connection) -> None:
    """Serve queue and integrator until killed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(_serve_until_killed(rig, pipe))


async def _serve_until_killed(rig: Rig, pipe: Connection) -> None:
    await rig.start()
    assert rig.node is not None
    principal = Principal(Kind.OPERATOR, "operator", PROJECT)
    pipe.send((rig.node.address, rig.node.mint.mint(principal)))
    await asyncio.Event().wait()


def _lines(root: Path) -> Iterator[str]:
    """Yield the lines that agents have written in a folder, below git's own folders or not."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            if name != ".git" and not fnmatch(name, IGNORED):
                text = Path(folder, name).read_text(errors="replace")
                yield from (line for line in text.splitlines() if line.startswith("line "))


def _check_expected(result: BaseException | None) -> None:
    """Raise what is no consequence of a kill."""
    if isinstance(result, grpc.aio.AioRpcError):
        expected = result.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    else:
        expected = isinstance(result, asyncio.CancelledError)
    if result is not None and not expected:
        raise result


def run(folder: Path, seed: int) -> tuple[History, list[str]]:
    """Run a history; return it, and what is wrong with it."""
    history = History(folder, seed)
    return history, asyncio.run(asyncio.wait_for(history.run(), _HISTORY_S))


def main() -> int:
    """Run the campaign; exit 1 if a history is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    tally = {"histories": 0, "wrong": 0, "kills": 0}
    acts = Counter[str]()
    for seed in range(options.first, options.first + options.histories):
        folder = Path(tempfile.mkdtemp(prefix="coord-worktrees-"))
        history, problems = run(folder, seed)
        acts += history.acts
        tally["histories"] += 1
        tally["wrong"] += bool(problems)
        tally["kills"] += history.kills
        if problems:
            _tell({"seed": seed, "folder": str(folder), "problems": problems})
        else:
            shutil.rmtree(folder)
        if tally["histories"] % _TELL_EVERY == 0:
            _tell(dict(tally))
    _tell({**tally, "acts": acts})
    return 1 if tally["wrong"] else 0


def _tell(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)  # noqa: T201 - what the campaign found.


if __name__ == "__main__":
    sys.exit(main())
