"""The queue: one handler for each RPC, and the loops beside the calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar, Self

import structlog
from coord.errors import not_found, permission_denied
from coord.times import SECOND, duration_ns, from_seconds, timestamp
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import (
    ITEMS_MAX,
    MESSAGE_BYTES_MAX,
    check_attempts,
    check_id,
    check_ids,
    check_progress,
    check_range,
    check_text,
    check_worker,
    invalid_field,
    page_size,
)
from coord_runtime.config import SectionSettings
from coord_runtime.paging import next_page_token, page_start
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind
from pydantic import Field

from coord_queue.adding import check_batch
from coord_queue.explain import DEPS_SHOWN, explain
from coord_queue.leases import Leases
from coord_queue.line import Line
from coord_queue.metrics import QueueMetrics
from coord_queue.schema import MIGRATIONS
from coord_queue.sqlite import SqliteQueueStore
from coord_queue.store import Page, QueueStore
from coord_queue.validation import check_failure, check_paths, check_spec

_WAIT_MAX_NS = 60 * SECOND
_SHOWN_PER_LEASE = 10

log = structlog.get_logger(__name__)


class QueueSettings(SectionSettings):
    """Settings of the queue.

    Attributes:
        lease_s: How long a lease lasts that nobody renews.
        ageing_s: How much older makes up for one level of priority: 1 to 3,600.
        repository: Whether tasks are work on a repository: then done means landed, and a worker's
            token may not complete them.
    """

    SECTION: ClassVar[str] = "queue"
    lease_s: float = 30.0
    ageing_s: float = Field(default=60.0, ge=1, le=3_600)
    repository: bool = False


class QueueService(Service):
    """Holds the task graph, its leases and its retries."""

    NAME: ClassVar[str] = "queue"
    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["QueueService"]
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset(
        {
            "CompleteTasks",
            "ExplainTask",
            "FailTasks",
            "GetDependencyGraph",
            "GetQueueStats",
            "GetTask",
            "LeaseTasks",
            "ListReadyTasks",
            "ListTasks",
            "ReleaseTasks",
            "RenewLeases",
            "StartTasks",
            "WatchQueueEvents",
        }
    )

    def __init__(self, context: ServiceContext, settings: QueueSettings, store: QueueStore) -> None:
        self._environment = context.environment
        self._project = context.project
        self._settings = settings
        self._store = store
        environment, lease_ns = context.environment, from_seconds(settings.lease_s)
        self._metrics = metrics = QueueMetrics(context.registry, environment.monotonic_ns())
        self._line = line = Line(store, environment)
        self._leases = Leases(store, environment, metrics, lease_ns, line.look)
        self._loops: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the queue on its folder."""
        settings = context.settings(QueueSettings)
        database = await context.open_database(MIGRATIONS)
        environment = context.environment
        ageing_ns = from_seconds(settings.ageing_s)
        store = SqliteQueueStore(database, environment.now_ns, environment.random, ageing_ns)
        return cls(context, settings, store)

    async def start(self) -> None:
        """Begin to expire leases, to serve who waits, and to show how many tasks there are."""
        self._leases.restore()
        loops = self._leases.expire(), self._line.serve(), self._show_counts()
        self._loops = [asyncio.create_task(one) for one in loops]

    async def stop(self) -> None:
        """End the loops, and close the store."""
        self._line.close()
        for loop in self._loops:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop
        await self._store.close()

    async def add_dependencies(
        self, request: pb.AddDependenciesRequest, call: Call
    ) -> pb.AddDependenciesResponse:
        """Let tasks wait for more tasks."""
        for item in request.dependencies:
            check_id("dependencies.task_id", item.task_id)
            check_range("dependencies.deps items", len(item.deps), 1, ITEMS_MAX)
            check_ids("dependencies.deps", item.deps)
        return await self._store.add_dependencies(request, call.once)

    async def add_tasks(self, request: pb.AddTasksRequest, call: Call) -> pb.AddTasksResponse:
        """Add tasks, all or none."""
        for spec in request.tasks:
            if not spec.id:
                spec.id = self._environment.new_id("task-")
            check_spec(spec)
        check_batch(request.tasks)
        response = await self._store.add(request, call.once)
        self._count("added", len(response.task_ids) - response.existing)
        self._line.look()
        return response

    async def assign_tasks(
        self, request: pb.AssignTasksRequest, call: Call
    ) -> pb.AssignTasksResponse:
        """Give named tasks to workers."""
        check_ids("task_ids", request.task_ids)
        if not request.workers:
            check_worker("worker", request.worker)
        elif request.worker or len(request.workers) != len(request.task_ids):
            raise invalid_field("workers", "one name for each task, and no `worker` beside them")
        for worker in request.workers:
            check_worker("workers", worker)
        response = await self._store.assign(request, call.once)
        self._leases.set_expiry(one.lease for one in response.results if one.HasField("lease"))
        return response

    async def cancel_tasks(
        self, request: pb.CancelTasksRequest, call: Call
    ) -> pb.CancelTasksResponse:
        """End tasks by the operator's word."""
        check_ids("task_ids", request.task_ids)
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        return await self._store.cancel(request, call.once)

    async def complete_tasks(
        self, request: pb.CompleteTasksRequest, call: Call
    ) -> pb.CompleteTasksResponse:
        """End attempts with success."""
        if self._settings.repository and call.principal.kind is Kind.WORKER:
            raise permission_denied(
                "NOT_FOR_WORKERS", "done means landed: say Complete on the worker's stream"
            )
        check_attempts("completions.attempt", (item.attempt for item in request.completions))
        for item in request.completions:
            check_text("completions.message", item.message, MESSAGE_BYTES_MAX)
        response = await self._store.complete(request)
        ended = self._leases.ended(request.completions, response.results)
        for held_ns in ended:
            self._metrics.work_s.observe(held_ns / SECOND)
        self._count("completed", len(ended))
        return response

    async def explain_task(
        self, request: pb.ExplainTaskRequest, call: Call
    ) -> pb.ExplainTaskResponse:
        """Explain why a task is in its state."""
        del call
        project = request.project
        task = self._task(project, request.task_id)
        deps = self._store.unfinished_deps(project, request.task_id, DEPS_SHOWN)
        paused = self._store.pause_message(project)
        reasons = explain(task, deps, paused, self._environment.now_ns())
        return pb.ExplainTaskResponse(state=task.state, reasons=reasons)

    async def fail_tasks(self, request: pb.FailTasksRequest, call: Call) -> pb.FailTasksResponse:
        """End attempts without success."""
        del call
        for item in request.failures:
            check_failure(item)
        response = await self._store.fail(request)
        self._leases.ended(request.failures, response.results)
        return response

    async def get_dependency_graph(
        self, request: pb.GetDependencyGraphRequest, call: Call
    ) -> pb.GetDependencyGraphResponse:
        """Return the tasks in a topological order, with their dependencies."""
        del call
        after = (*page_start(request), 0)[0]
        size = page_size(request.page_size)
        nodes, last = self._store.graph_page(request.project, after, size)
        token = next_page_token(request, [last]) if last else ""
        return pb.GetDependencyGraphResponse(nodes=nodes, next_page_token=token)

    async def get_queue_stats(
        self, request: pb.GetQueueStatsRequest, call: Call
    ) -> pb.GetQueueStatsResponse:
        """Count the project's tasks."""
        del call
        stats = self._store.stats(request.project)
        if request.project == self._project:
            rates = self._metrics.rates(self._environment.monotonic_ns())
            stats.added_per_second = rates["added"]
            stats.assigned_per_second = rates["assigned"]
            stats.completed_per_second = rates["completed"]
        paused = self._store.pause_message(request.project)
        if paused is not None:
            stats.paused_message = paused
        return stats

    async def get_task(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:
        """Return one task with its attempts."""
        del call
        return pb.GetTaskResponse(task=self._task(request.project, request.task_id))

    async def lease_tasks(self, request: pb.LeaseTasksRequest, call: Call) -> pb.LeaseTasksResponse:
        """Give ready tasks to a worker; wait for one if there is none."""
        check_worker("worker", request.worker)
        check_range("max_tasks", request.max_tasks, 1, ITEMS_MAX)
        check_range("wait ns", duration_ns(request.wait), 0, _WAIT_MAX_NS)
        check_paths("excluded_paths", request.excluded_paths)
        response = await self._line.lease(request, call.once)
        self._leases.set_expiry(response.leases)
        return response

    async def list_ready_tasks(
        self, request: pb.ListReadyTasksRequest, call: Call
    ) -> pb.ListReadyTasksResponse:
        """List what could be assigned now."""
        del call
        after, size = page_start(request), page_size(request.page_size)
        tasks, last = self._store.ready(request.project, size, after)
        next_ns = self._store.next_ready_ns(request.project)
        return pb.ListReadyTasksResponse(
            tasks=tasks,
            next_ready_at=timestamp(next_ns) if next_ns else None,
            next_page_token=next_page_token(request, last) if last else "",
        )

    async def list_tasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        """List tasks in the order in which they were added."""
        del call
        page = Page(
            size=page_size(request.page_size),
            after=(*page_start(request), 0)[0],
            states=request.states,
            worker=request.worker,
            labels=dict(request.labels),
        )
        tasks, after = self._store.list_page(request.project, page)
        token = next_page_token(request, [after]) if after else ""
        return pb.ListTasksResponse(tasks=tasks, next_page_token=token)

    async def pause_queue(self, request: pb.PauseQueueRequest, call: Call) -> pb.PauseQueueResponse:
        """Give out no tasks any more."""
        del call
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        await self._store.pause(request.project, request.message)
        return pb.PauseQueueResponse()

    async def reassign_tasks(
        self, request: pb.ReassignTasksRequest, call: Call
    ) -> pb.ReassignTasksResponse:
        """Take assigned tasks from their workers and give them to others."""
        check_attempts("reassignments.attempt", (item.attempt for item in request.reassignments))
        for item in request.reassignments:
            check_worker("reassignments.worker", item.worker)
        response = await self._store.reassign(request, call.once)
        self._leases.reassigned(request.reassignments, response.results)
        return response

    async def release_tasks(
        self, request: pb.ReleaseTasksRequest, call: Call
    ) -> pb.ReleaseTasksResponse:
        """Take attempts back."""
        del call
        check_attempts("releases.attempt", (item.attempt for item in request.releases))
        for item in request.releases:
            check_text("releases.message", item.message, MESSAGE_BYTES_MAX)
            check_progress("releases.progress", item.progress)
        response = await self._store.release(request)
        self._leases.ended(request.releases, response.results)
        return response

    async def remove_tasks(
        self, request: pb.RemoveTasksRequest, call: Call
    ) -> pb.RemoveTasksResponse:
        """Forget tasks that nothing waits for."""
        check_ids("task_ids", request.task_ids)
        return await self._store.remove(request, call.once)

    async def renew_leases(
        self, request: pb.RenewLeasesRequest, call: Call
    ) -> pb.RenewLeasesResponse:
        """Prolong leases; say which attempts are to stop."""
        del call
        attempts = [item.attempt for item in request.renewals]
        check_attempts("renewals.attempt", attempts)
        for item in request.renewals:
            check_progress("renewals.progress", item.progress)
        changed = [item for item in request.renewals if item.HasField("progress")]
        if changed:
            await self._store.report_progress(request.project, request.worker, changed)
        directives = self._store.directives(request.project, request.worker, attempts)
        results = map(self._leases.renewed, attempts, directives)
        return pb.RenewLeasesResponse(results=results)

    async def resume_queue(
        self, request: pb.ResumeQueueRequest, call: Call
    ) -> pb.ResumeQueueResponse:
        """Give out tasks again."""
        del call
        await self._store.resume(request.project)
        self._line.look()
        return pb.ResumeQueueResponse()

    async def retry_tasks(self, request: pb.RetryTasksRequest, call: Call) -> pb.RetryTasksResponse:
        """Make ended tasks PENDING again."""
        check_ids("task_ids", request.task_ids)
        response = await self._store.retry(request, call.once)
        self._line.look()
        return response

    async def start_tasks(self, request: pb.StartTasksRequest, call: Call) -> pb.StartTasksResponse:
        """Note that attempts have begun."""
        del call
        check_attempts("attempts", request.attempts)
        response = await self._store.start(request)
        self._leases.started(request.attempts, response.results)
        return response

    async def submit_tasks(
        self, request: pb.SubmitTasksRequest, call: Call
    ) -> pb.SubmitTasksResponse:
        """Hand attempts to the merge queue."""
        del call
        check_attempts("attempts", request.attempts)
        response = await self._store.submit(request)
        self._leases.submitted(request.attempts, response.results)
        return response

    async def watch_queue_events(
        self, request: pb.WatchQueueEventsRequest, call: Call
    ) -> AsyncIterator[pb.WatchQueueEventsResponse]:
        """Send events from a number on."""
        del call
        async for events in self._store.watch(request.project, request.after):
            yield pb.WatchQueueEventsResponse(events=events)

    def _task(self, project: str, task_id: str) -> pb.Task:
        task = self._store.get(project, task_id)
        if task is None:
            raise not_found("TASK_NOT_FOUND", f"there is no task {task_id!r}", task_id=task_id)
        return task

    def _count(self, name: str, number: int) -> None:
        self._metrics.count(name, number, self._environment.monotonic_ns())

    async def _show_counts(self) -> None:
        """Keep the gauges of the host's project up to date, for ever."""
        while True:
            await asyncio.sleep(self._settings.lease_s / _SHOWN_PER_LEASE)
            try:
                stats = self._store.stats(self._project)
                self._metrics.set_counts(self._project, stats, self._environment.now_ns() / SECOND)
            except Exception:  # Whatever it is, the next look comes.
                log.exception("tasks could not be counted")
