"""A million tasks with two million edges: added, drained, listed, and served again after a kill."""

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil
from coord.client import connect
from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT, python, started, token
from bench.report import Row, row
from bench.samples import spec

_TASKS = 1_000_000
_EDGES = 2
_EDGE = 10_000
_BATCH = 1_000
_MIB = 2**20
_US = 1_000_000


def _specs(random: Random) -> Iterator[list[queue_pb2.TaskSpec]]:
    """Yield batches of tasks, each depending on two that were added a while before."""
    for begin in range(0, _TASKS, _BATCH):
        batch = [spec(f"t-{number:08}") for number in range(begin, begin + _BATCH)]
        for one in batch:
            if begin:
                before = {random.randrange(max(0, begin - 50_000), begin) for _ in range(_EDGES)}
                one.deps.extend(f"t-{number:08}" for number in before)
        yield batch


class Server:
    """The service in a process of its own, which can be killed."""

    def __init__(self, state: Path) -> None:
        self._state = state / "queue"

    def start(self) -> Any:
        command = python("coord_queue", "--project", PROJECT, "--state", str(self._state))
        return started(command)

    def channel(self, ready: Any) -> Any:
        return connect(ready["address"], token(self._state))


async def _add(stub: Any) -> list[float]:
    """Return the seconds of each batch."""
    times = []
    for batch in _specs(Random(7)):
        request = queue_pb2.AddTasksRequest(project=PROJECT, tasks=batch)
        begin = time.perf_counter()
        await stub.AddTasks(request)
        times.append(time.perf_counter() - begin)
    return times


async def _drain(stub: Any) -> tuple[list[float], list[int]]:
    """Lease and complete until nothing is ready; return seconds and tasks of each round."""
    lease = queue_pb2.LeaseTasksRequest(project=PROJECT, worker="w", max_tasks=_BATCH)
    times: list[float] = []
    tasks: list[int] = []
    while True:
        begin = time.perf_counter()
        leases = (await stub.LeaseTasks(lease)).leases
        if not leases:
            return times, tasks
        done = [
            queue_pb2.Completion(
                attempt=common_pb2.AttemptRef(
                    task_id=one.spec.id, fencing_token=one.attempt.fencing_token
                )
            )
            for one in leases
        ]
        request = queue_pb2.CompleteTasksRequest(project=PROJECT, worker="w", completions=done)
        await stub.CompleteTasks(request)
        times.append(time.perf_counter() - begin)
        tasks.append(len(leases))


async def _list(stub: Any) -> list[float]:
    times, page_token = [], ""
    while True:
        begin = time.perf_counter()
        request = queue_pb2.ListTasksRequest(
            project=PROJECT, page_size=_BATCH, page_token=page_token
        )
        page = await stub.ListTasks(request)
        times.append(time.perf_counter() - begin)
        page_token = page.next_page_token
        if not page_token:
            return times


def _growth(times: Sequence[float], tasks: Sequence[int] | None = None) -> float:
    """Return the cost of a task among the last 10,000 as a share of that among the first."""
    counts = tasks or [_BATCH] * len(times)
    ends: list[float] = []
    for order in (1, -1):
        seconds, seen = 0.0, 0
        for cost, number in list(zip(times, counts, strict=True))[::order]:
            seconds, seen = seconds + cost, seen + number
            if seen >= _EDGE:
                break
        ends.append(seconds / seen)
    return ends[1] / ends[0]


async def run(state: Path) -> list[Row]:
    server = Server(state)
    rows: list[Row] = []

    def add(case: str, unit: str, value: float, goal: float | None = None) -> None:
        rows.append(row(case, unit, [value], goal=goal, less_is_better=True))

    async with server.start() as (process, ready), server.channel(ready) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        memory = psutil.Process(process.pid).memory_info
        added = await _add(stub)
        add("1M tasks, 2M edges: adding, last 10,000 / first", "times", _growth(added), 1.5)
        add("1M tasks: adding", "us/task", sum(added) / _TASKS * _US)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    begin = time.perf_counter()
    async with server.start() as (process, ready), server.channel(ready) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        stats = await stub.GetQueueStats(queue_pb2.GetQueueStatsRequest(project=PROJECT))
        add("1M tasks: serving again after kill -9", "s", time.perf_counter() - begin, 5)
        assert sum(one.count for one in stats.counts) == _TASKS
        memory = psutil.Process(process.pid).memory_info
        drained, counts = await _drain(stub)
        assert sum(counts) == _TASKS
        add("1M tasks: draining, last 10,000 / first", "times", _growth(drained, counts), 1.5)
        add("1M tasks: draining", "us/task", sum(drained) / _TASKS * _US)
        listed = await _list(stub)
        add("1M tasks: listing, last 10,000 / first", "times", _growth(listed), 1.5)
        add("1M tasks: memory of the server", "MiB", memory().rss / _MIB, 400)
    return rows
