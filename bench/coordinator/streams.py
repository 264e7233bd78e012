"""Workers' streams: reports, messages between workers, and tasks from adding to completion."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from coord.v1 import common_pb2, coordinator_pb2, queue_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub

from bench.processes import no_op
from bench.report import Row, compared
from bench.rounds import in_turns, rate
from bench.samples import spec
from bench.spine.host import host
from bench.worker import Worker, attempt_of

_WORKERS = 32
_REPORTS = 4_800
_TASK_WORKERS = 16
_SLOTS = 4
_TASKS = 960


class Client:
    """All workers of one side."""

    def __init__(self, queue: Any, coordinator: Any, project: str) -> None:
        self._queue: Any = QueueServiceStub(queue)
        self._coordinator: Any = CoordinatorServiceStub(coordinator)
        self._project = project
        self._number = count()
        self._round = count()
        self._left = 0

    async def reports(self) -> float:
        """Return messages a second, both ways: reports of progress, and an ack for each."""
        await self._add(_WORKERS)
        async with self._workers(_WORKERS, 1) as workers:
            attempts = [await worker.assigned() for worker in workers]
            pairs = list(zip(workers, attempts, strict=True))
            figure = await rate(2 * _REPORTS, (_report(*pair) for pair in pairs))
            for worker, attempt in pairs:
                await worker.say(complete=coordinator_pb2.Complete(attempt=attempt))
                await worker.settled()
        return figure

    async def messages(self) -> float:
        """Return messages a second, in and out: from each worker to the next one."""
        async with self._workers(_WORKERS, 1) as workers:
            nexts = zip(workers, [*workers[1:], workers[0]], strict=True)
            round_ = next(self._round)
            sending = [_send(one, other.name, round_) for one, other in nexts]
            return await rate(2 * _REPORTS, sending)

    async def tasks(self) -> float:
        """Return tasks a second, from their adding to the acknowledgement of their completion."""
        async with self._workers(_TASK_WORKERS, _SLOTS) as workers:
            self._left, done = _TASKS, asyncio.Event()
            working = [asyncio.create_task(self._work(one, workers, done)) for one in workers]
            figure = await rate(_TASKS, [self._add(_TASKS), done.wait()])
        await asyncio.gather(*working)
        return figure

    async def check(self) -> None:
        """See that every task was done."""
        request = queue_pb2.GetQueueStatsRequest(project=self._project)
        (count,) = (await self._queue.GetQueueStats(request)).counts
        assert count.state == queue_pb2.TASK_STATE_COMPLETE

    async def _work(self, worker: Worker, workers: Sequence[Worker], done: asyncio.Event) -> None:
        while (response := await worker.read()) is not None:
            if response.HasField("assigned") and self._left > 0:
                self._left -= 1
                attempt = attempt_of(response)
                await worker.say(started=coordinator_pb2.Started(attempt=attempt))
                await worker.say(complete=coordinator_pb2.Complete(attempt=attempt, message="done"))
            if sum(one.acknowledged for one in workers) == 2 * _TASKS:
                done.set()

    async def _add(self, tasks: int) -> None:
        specs = [spec(f"t-{next(self._number):08}") for _ in range(tasks)]
        for one in specs:
            # Who declares the same paths waits for one another.
            one.ClearField("paths")
        await self._queue.AddTasks(queue_pb2.AddTasksRequest(project=self._project, tasks=specs))

    @asynccontextmanager
    async def _workers(self, number: int, slots: int) -> AsyncIterator[list[Worker]]:
        this = next(self._round)
        names = [f"w{this}-{one:02}" for one in range(number)]
        workers = [Worker(self._coordinator, self._project, name, slots) for name in names]
        await asyncio.gather(*(worker.join() for worker in workers))
        yield workers
        await asyncio.gather(*(worker.leave() for worker in workers))


async def _report(worker: Worker, attempt: common_pb2.AttemptRef) -> None:
    progress = common_pb2.Progress(summary="Editing src/header.py", fraction=0.5)
    for _ in range(_REPORTS // _WORKERS):
        report = coordinator_pb2.ProgressReport(attempt=attempt, progress=progress)
        await worker.say(progress=report)
        await worker.settled()


async def _send(worker: Worker, to: str, round_: int) -> None:
    for number in range(_REPORTS // _WORKERS):
        message = coordinator_pb2.WorkerMessage(
            message_id=f"{round_}-{worker.name}-{number}", worker=to, body="Look at src/header.py"
        )
        await worker.say(worker_message=message)
        await worker.settled()


async def run(state: Path) -> list[Row]:
    async with host(state) as running, no_op() as limit:
        channel = running.channel
        clients = {
            "coord": Client(channel, channel, running.project),
            "no-op": Client(limit, limit, running.project),
        }
        reports = await in_turns({name: one.reports for name, one in clients.items()})
        messages = await in_turns({name: one.messages for name, one in clients.items()})
        tasks = await in_turns({name: one.tasks for name, one in clients.items()})
        await clients["coord"].check()
    return [
        *compared("report + ack over 32 streams", "messages/s", reports, goal=0.5),
        *compared("message to another worker over 32 streams", "messages/s", messages, goal=0.5),
        *compared("tasks over 16 streams of 4 slots, added to done", "tasks/s", tasks, goal=0.5),
    ]
