"""Queue stores to hold to one suite: each is a way to open one, and to open it again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_queue.schema import MIGRATIONS
from coord_queue.sqlite import SqliteQueueStore
from coord_queue.store import QueueStore
from coord_runtime.calls import Once
from coord_runtime.database import Database, Options

from tests.serving import PROJECT, Clock

AGEING_NS = 60 * SECOND
Open = Callable[[Path, Clock], QueueStore]


def sqlite(folder: Path, clock: Clock) -> QueueStore:
    options = Options(clock.environment(), inline=True, synchronous=False, migrations=MIGRATIONS)
    database = Database(folder / "queue.db", options)
    return SqliteQueueStore(database, lambda: clock.wall_ns, clock.random, AGEING_NS)


STORES: dict[str, Open] = {"sqlite": sqlite}


def ref(lease: pb.Lease) -> common_pb2.AttemptRef:
    return common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token)


def once(request_id: str, request: Any, response: Any) -> Once:
    digest = request.SerializeToString(deterministic=True)
    return Once((PROJECT, "tester", "method", request_id), digest, response)


@dataclass
class Store:
    """A store, as tests talk to it."""

    open: Open
    folder: Path
    clock: Clock = field(default_factory=Clock)
    queue: QueueStore = field(init=False)

    def __post_init__(self) -> None:
        self.queue = self.open(self.folder, self.clock)

    async def reopen(self) -> None:
        await self.queue.close()
        self.queue = self.open(self.folder, self.clock)

    async def add(self, *specs: pb.TaskSpec) -> pb.AddTasksResponse:
        return await self.queue.add(pb.AddTasksRequest(project=PROJECT, tasks=specs), None)

    async def depend(self, task_id: str, *deps: str) -> pb.ReportResult:
        item = pb.TaskDependencies(task_id=task_id, deps=deps)
        request = pb.AddDependenciesRequest(project=PROJECT, dependencies=[item])
        return (await self.queue.add_dependencies(request, None)).results[0]

    async def lease(self, most: int = 1, worker: str = "w", **more: Any) -> list[pb.Lease]:
        request = pb.LeaseTasksRequest(project=PROJECT, worker=worker, max_tasks=most, **more)
        return list((await self.queue.lease(request, None)).leases)

    async def complete(self, *leases: pb.Lease, worker: str = "") -> list[pb.ReportResult]:
        done = [pb.Completion(attempt=ref(lease)) for lease in leases]
        request = pb.CompleteTasksRequest(project=PROJECT, worker=worker, completions=done)
        return list((await self.queue.complete(request)).results)

    async def fail(self, lease: pb.Lease, reason: pb.FailureReason) -> pb.ReportResult:
        failure = pb.Failure(attempt=ref(lease), reason=reason, message="why", detail="output")
        request = pb.FailTasksRequest(project=PROJECT, failures=[failure])
        return (await self.queue.fail(request)).results[0]

    def state(self, task_id: str) -> pb.TaskState:
        task = self.queue.get(PROJECT, task_id)
        return task.state if task else pb.TASK_STATE_UNSPECIFIED

    def order(self, page: int = 100) -> list[pb.GraphNode]:
        """All tasks in their topological order."""
        nodes, after = self.queue.graph_page(PROJECT, 0, page)
        while after:
            more, after = self.queue.graph_page(PROJECT, after, page)
            nodes += more
        return nodes

    def check_order(self) -> None:
        seen: set[str] = set()
        for node in self.order(page=97):
            assert seen.issuperset(node.deps), node.task_id
            seen.add(node.task_id)
