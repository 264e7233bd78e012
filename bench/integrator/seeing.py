"""How soon an edit is seen: the look at a worktree, and the way to both owners."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from coord.client import connect
from coord.v1 import common_pb2, queue_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_integrator.glances import Glances
from coord_integrator.matrix import Matrix
from coord_integrator.repository import Repository
from coord_integrator.scratch import open_scratch
from coord_integrator.snapshot import Snapshots

from bench.integrator.branches import git, make_branches
from bench.processes import started, token
from bench.report import Row, row
from bench.worker import Worker

_COORD = str(Path(sys.executable).with_name("coord"))
_FILES, _DIRTY = 5_000, 50
_LOOKS = 15
_WORKERS, _TRIALS = 32, 8
_HEARD_S = 30.0


async def run(state: Path) -> list[Row]:
    return [*await _looks(state / "looks"), *await _told(state / "told")]


async def _looks(state: Path) -> list[Row]:
    """Measure looks at a worktree of 5,000 files of which some are edited and some are new."""
    made = make_branches(state / "repo", _FILES, 1)
    worktree, own = state / "w", state / "integrator"
    own.mkdir()
    git(made.folder, "worktree", "add", "-q", "-b", "work", str(worktree), "main")
    _dirty(worktree, Random(1))
    repository = await Repository.open(made.folder, own)
    scratch = await open_scratch(repository)
    matrix = Matrix(scratch, "end-of-an-answer")
    glances, snapshots = Glances(repository, scratch, matrix.footprints), Snapshots(repository)
    await snapshots.open()
    await glances.open()
    attempt = common_pb2.AttemptRef(task_id="t", fencing_token=1)
    edited = worktree / "src" / "p2" / "f100.py"

    async def some() -> None:
        assert await glances.look("w", worktree, attempt, [edited])

    async def every() -> None:
        assert await glances.look("w", worktree, attempt)

    async def keep() -> None:
        await snapshots.capture("w", worktree, made.base, "work")

    await every()
    await keep()
    figures = [await _times_ms(one, edited) for one in (some, every, keep)]
    await glances.close()
    await matrix.close()
    case = f"dirty worktree of {_FILES:,} files"
    return [
        row(
            f"{case}: read by the radar after an edit",
            "ms",
            figures[0],
            goal=40,
            less_is_better=True,
        ),
        row(
            f"{case}: read by the radar as a whole", "ms", figures[1], goal=40, less_is_better=True
        ),
        row(f"{case}: captured to be kept", "ms", figures[2]),
    ]


def _dirty(worktree: Path, random: Random) -> None:
    for number in range(_DIRTY):
        edited = random.randrange(_FILES)
        (worktree / f"src/p{edited // 50}/f{edited}.py").write_text(f"dirty {number}\n")
        (worktree / f"src/p{number}/untracked.py").write_text(f"new {number}\n")


async def _times_ms(look: Callable[[], Awaitable[None]], edited: Path) -> list[float]:
    times = []
    for number in range(_LOOKS):
        _save(edited, f"edit {number} {time.time_ns()}\n")
        begin = time.perf_counter()
        await look()
        times.append((time.perf_counter() - begin) * 1_000)
    return times


async def _told(state: Path) -> list[Row]:
    """Measure the time from a saved edit to `coord:conflict` at both owners, over gRPC."""
    made = make_branches(state / "bare", _FILES, 1)
    repo = state / "repo"
    git(state, "clone", "-q", "--branch", "main", str(made.folder), str(repo))
    async with _served(repo, state / "state") as (project, channels):
        workers = await _crowd(project, channels)
        times = [await _trial(workers, number) for number in range(_TRIALS)]
        for worker in workers:
            worker.beating.cancel()
    told, over = zip(*times, strict=True)
    case = f"{_WORKERS} worktrees of {_FILES:,} files"
    return [
        row(f"{case}: edit to conflict at both", "s", told, goal=1, less_is_better=True),
        row(f"{case}: edit to its end at both", "s", over, goal=1, less_is_better=True),
    ]


@asynccontextmanager
async def _served(repo: Path, state: Path) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    command = [_COORD, "up", "--repo", str(repo), "--state", str(state), "--no-check", "--json"]
    async with started(command) as (_, ready):
        secret = token(state, ready["project"])
        addresses = ready["addresses"]
        async with (
            connect(addresses["queue"], secret) as queue,
            connect(addresses["coordinator"], secret) as coordinator,
        ):
            yield ready["project"], {"queue": queue, "coordinator": coordinator}


class _Owner:
    """A worker that has a worktree, and hears of conflicts.

    Attributes:
        folder: The worktree.
        others: With whom it was told last that it conflicts.
        heard: Set whenever it is told.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.folder = Path()
        self.others: set[str] = set()
        self.heard = asyncio.Event()
        self.ready = asyncio.Event()
        self.listening = asyncio.create_task(self._listen())
        self.beating = asyncio.create_task(self._beat())

    async def until(self, others: set[str]) -> None:
        """Wait until it was told so."""
        async with asyncio.timeout(_HEARD_S):
            while self.others != others:
                self.heard.clear()
                await self.heard.wait()

    async def _listen(self) -> None:
        while (response := await self.worker.read()) is not None:
            if response.HasField("assigned"):
                self.folder = Path(response.assigned.worktree.path)
                self.ready.set()
            if response.HasField("conflict"):
                self.others = {one.worker for one in response.conflict.conflicts}
                self.heard.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(2.0)
            await self.worker.beat()


async def _crowd(project: str, channels: dict[str, Any]) -> list[_Owner]:
    queue: Any = QueueServiceStub(channels["queue"])
    coordinator: Any = CoordinatorServiceStub(channels["coordinator"])
    specs = [queue_pb2.TaskSpec(id=f"t{number}", prompt="work") for number in range(_WORKERS)]
    await queue.AddTasks(queue_pb2.AddTasksRequest(project=project, tasks=specs))
    owners = []
    for number in range(_WORKERS):
        worker = Worker(coordinator, project, f"w{number:02}", 1)
        await worker.join()
        owners.append(_Owner(worker))
    for owner in owners:
        await owner.ready.wait()
    return owners


async def _trial(owners: list[_Owner], number: int) -> tuple[float, float]:
    """Return how long after an edit both owners know of a conflict, and of its end."""
    one, other = owners[2 * number], owners[2 * number + 1]
    path = f"src/p{number}/f{number * 50}.py"
    original = git(one.folder, "show", f"HEAD:{path}") + "\n"
    _save(one.folder / path, original.replace("line 3\n", "line 3, mine\n"))
    await asyncio.sleep(1.0)
    told_s = await _heard_s(other.folder / path, "line 3, theirs\n", original, (one, other))
    over_s = await _heard_s(other.folder / path, "line 3\n", original, (one, other), over=True)
    return told_s, over_s


async def _heard_s(
    path: Path, line: str, original: str, sides: tuple[_Owner, _Owner], *, over: bool = False
) -> float:
    one, other = sides
    _save(path, original.replace("line 3\n", line))
    begin = time.perf_counter()
    await asyncio.gather(
        one.until(set() if over else {other.worker.name}),
        other.until(set() if over else {one.worker.name}),
    )
    return time.perf_counter() - begin


def _save(path: Path, text: str) -> None:
    """Save as editors do: a new file in the place of the old one."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)
