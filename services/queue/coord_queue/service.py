"""The queue: one handler for each RPC, and the loop that expires leases."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import ClassVar, Self

import structlog
from coord.errors import CoordError, not_found, permission_denied
from coord.times import SECOND, duration_ns, from_seconds, timestamp
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import (
    DETAIL_BYTES_MAX,
    ITEMS_MAX,
    MESSAGE_BYTES_MAX,
    check_attempt,
    check_ids,
    check_one_of,
    check_progress,
    check_range,
    check_text,
    check_worker,
    invalid_field,
    page_size,
)
from coord_runtime.config import SectionSettings
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind
from coord_runtime.wakeups import Wakeups
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import Counter

from coord_queue.adding import check_batch
from coord_queue.explain import explain
from coord_queue.leases import LeaseClock
from coord_queue.schema import MIGRATIONS
from coord_queue.sqlite import SqliteQueueStore
from coord_queue.store import Page, QueueStore
from coord_queue.validation import check_spec

_WAIT_MAX_NS = 60 * SECOND
_EXPIRIES_PER_LEASE = 10

log = structlog.get_logger(__name__)


class QueueSettings(SectionSettings):
    """Settings of the queue.

    Attributes:
        lease_s: How long a lease lasts that nobody renews.
        repository: Whether tasks are work on a repository: then done means landed, and a worker's
            token may not complete them.
    """

    SECTION: ClassVar[str] = "queue"
    lease_s: float = 30.0
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

    def __init__(self, context: ServiceContext, store: QueueStore) -> None:
        self._environment = context.environment
        self._store = store
        self._settings = context.settings(QueueSettings)
        self._lease_ns = from_seconds(self._settings.lease_s)
        self._leases = LeaseClock(self._lease_ns)
        self._ready = Wakeups()
        self._expiry: asyncio.Task[None] | None = None
        self._expired = Counter(
            "coord_queue_lease_expiries", "Leases that expired.", registry=context.registry
        )
        self._stale = Counter(
            "coord_queue_stale_reports", "Reports refused as stale.", registry=context.registry
        )

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the queue on its folder."""
        database = await context.open_database(MIGRATIONS)
        environment = context.environment
        return cls(context, SqliteQueueStore(database, environment.now_ns, environment.random))

    async def start(self) -> None:
        """Begin to expire leases."""
        self._expiry = asyncio.create_task(self._expire_leases())

    async def stop(self) -> None:
        """Stop expiring leases, and close the store."""
        if self._expiry is not None:
            self._expiry.cancel()
            with suppress(asyncio.CancelledError):
                await self._expiry
        self._ready.close()
        await self._store.close()

    async def add_tasks(self, request: pb.AddTasksRequest, call: Call) -> pb.AddTasksResponse:
        """Add tasks, all or none."""
        for spec in request.tasks:
            spec.id = spec.id or self._environment.new_id("task-")
            check_spec(spec)
        check_batch(request.tasks)
        response = await self._store.add(request.project, request.tasks, call.once)
        self._ready.wake()
        return response

    async def assign_tasks(
        self, request: pb.AssignTasksRequest, call: Call
    ) -> pb.AssignTasksResponse:
        """Give named tasks to a worker."""
        check_worker("worker", request.worker)
        check_ids("task_ids", request.task_ids)
        response = await self._store.assign(
            request.project, request.worker, request.task_ids, call.once
        )
        self._begin_leases(one.lease for one in response.results if one.HasField("lease"))
        return response

    async def cancel_tasks(
        self, request: pb.CancelTasksRequest, call: Call
    ) -> pb.CancelTasksResponse:
        """End tasks by the operator's word."""
        check_ids("task_ids", request.task_ids)
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        return await self._store.cancel(
            request.project, request.task_ids, request.message, call.once
        )

    async def complete_tasks(
        self, request: pb.CompleteTasksRequest, call: Call
    ) -> pb.CompleteTasksResponse:
        """End attempts with success."""
        if self._settings.repository and call.principal.kind is Kind.WORKER:
            raise permission_denied(
                "NOT_FOR_WORKERS", "done means landed: say Complete on the worker's stream"
            )
        for item in request.completions:
            check_attempt("completions.attempt", item.attempt)
            check_text("completions.message", item.message, MESSAGE_BYTES_MAX)
        results = self._counted(await self._store.complete(request))
        return pb.CompleteTasksResponse(results=results)

    async def explain_task(
        self, request: pb.ExplainTaskRequest, call: Call
    ) -> pb.ExplainTaskResponse:
        """Explain why a task is in its state."""
        del call
        task = self._task(request.project, request.task_id)
        deps = self._store.unfinished_deps(request.project, request.task_id)
        reasons = explain(task, deps, self._environment.now_ns())
        return pb.ExplainTaskResponse(state=task.state, reasons=reasons)

    async def fail_tasks(self, request: pb.FailTasksRequest, call: Call) -> pb.FailTasksResponse:
        """End attempts without success."""
        del call
        for item in request.failures:
            check_attempt("failures.attempt", item.attempt)
            check_one_of("failures.reason", item.reason, pb.FailureReason.values())
            check_text("failures.message", item.message, MESSAGE_BYTES_MAX)
            check_text("failures.detail", item.detail, DETAIL_BYTES_MAX)
        return pb.FailTasksResponse(results=self._counted(await self._store.fail(request)))

    async def get_queue_stats(
        self, request: pb.GetQueueStatsRequest, call: Call
    ) -> pb.GetQueueStatsResponse:
        """Count the project's tasks."""
        del call
        return self._store.stats(request.project)

    async def get_task(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:
        """Return one task with its attempts."""
        del call
        return pb.GetTaskResponse(task=self._task(request.project, request.task_id))

    async def lease_tasks(self, request: pb.LeaseTasksRequest, call: Call) -> pb.LeaseTasksResponse:
        """Give ready tasks to a worker; wait for one if there is none."""
        check_worker("worker", request.worker)
        check_range("max_tasks", request.max_tasks, 1, ITEMS_MAX)
        check_range("wait ns", duration_ns(request.wait), 0, _WAIT_MAX_NS)
        deadline_ns = self._environment.monotonic_ns() + duration_ns(request.wait)
        while True:
            seen = self._ready.seen()
            response = await self._lease(request, call, deadline_ns)
            left_ns = deadline_ns - self._environment.monotonic_ns()
            if response.leases or left_ns <= 0:
                return response
            await self._ready.wait(seen, self._wait_ns(request.project, left_ns) / SECOND)

    async def list_ready_tasks(
        self, request: pb.ListReadyTasksRequest, call: Call
    ) -> pb.ListReadyTasksResponse:
        """List what could be assigned now."""
        del call
        tasks = self._store.ready(request.project, page_size(request.page_size))
        next_ns = self._store.next_ready_ns(request.project)
        return pb.ListReadyTasksResponse(
            tasks=tasks, next_ready_at=timestamp(next_ns) if next_ns else None
        )

    async def list_tasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        """List tasks in the order in which they were added."""
        del call
        if request.page_token and not request.page_token.isdigit():
            raise invalid_field("page_token", "use the token of the answer before")
        page = Page(
            size=page_size(request.page_size),
            after=int(request.page_token or 0),
            states=request.states,
            worker=request.worker,
            labels=dict(request.labels),
        )
        tasks, after = self._store.list_page(request.project, page)
        return pb.ListTasksResponse(tasks=tasks, next_page_token=str(after) if after else "")

    async def release_tasks(
        self, request: pb.ReleaseTasksRequest, call: Call
    ) -> pb.ReleaseTasksResponse:
        """Take attempts back."""
        del call
        for item in request.releases:
            check_attempt("releases.attempt", item.attempt)
            check_text("releases.message", item.message, MESSAGE_BYTES_MAX)
        return pb.ReleaseTasksResponse(results=self._counted(await self._store.release(request)))

    async def renew_leases(
        self, request: pb.RenewLeasesRequest, call: Call
    ) -> pb.RenewLeasesResponse:
        """Prolong leases; say which attempts are to stop."""
        del call
        for item in request.renewals:
            check_attempt("renewals.attempt", item.attempt)
            check_progress("renewals.progress", item.progress)
        changed = [item for item in request.renewals if item.HasField("progress")]
        if changed:
            await self._store.report_progress(request.project, changed)
        directives = self._store.directives(request.project, request.worker, request.renewals)
        return pb.RenewLeasesResponse(
            results=[
                self._renewed(item, directive)
                for item, directive in zip(request.renewals, directives, strict=True)
            ]
        )

    async def retry_tasks(self, request: pb.RetryTasksRequest, call: Call) -> pb.RetryTasksResponse:
        """Make ended tasks PENDING again."""
        check_ids("task_ids", request.task_ids)
        response = await self._store.retry(request.project, request.task_ids, call.once)
        self._ready.wake()
        return response

    async def start_tasks(self, request: pb.StartTasksRequest, call: Call) -> pb.StartTasksResponse:
        """Note that attempts have begun."""
        del call
        for attempt in request.attempts:
            check_attempt("attempts", attempt)
        return pb.StartTasksResponse(results=self._counted(await self._store.start(request)))

    async def submit_tasks(
        self, request: pb.SubmitTasksRequest, call: Call
    ) -> pb.SubmitTasksResponse:
        """Hand attempts to the merge queue."""
        del call
        for attempt in request.attempts:
            check_attempt("attempts", attempt)
        results = self._counted(await self._store.submit(request))
        now_ns = self._environment.monotonic_ns()
        for attempt, result in zip(request.attempts, results, strict=True):
            if not result.HasField("error"):
                self._leases.renew(attempt.fencing_token, now_ns)
        return pb.SubmitTasksResponse(results=results)

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

    async def _lease(
        self, request: pb.LeaseTasksRequest, call: Call, deadline_ns: int
    ) -> pb.LeaseTasksResponse:
        last = deadline_ns <= self._environment.monotonic_ns()
        if not last and not self._store.ready(request.project, 1):
            return pb.LeaseTasksResponse()
        response = await self._store.lease(
            request.project,
            request.worker,
            request.max_tasks,
            frozenset(request.capabilities),
            call.once,
        )
        self._begin_leases(response.leases)
        return response

    def _wait_ns(self, project: str, left_ns: int) -> int:
        next_ns = self._store.next_ready_ns(project)
        if not next_ns:
            return left_ns
        return min(left_ns, max(0, next_ns - self._environment.now_ns()))

    def _begin_leases(self, leases: Iterable[pb.Lease]) -> None:
        now_ns = self._environment.monotonic_ns()
        for lease in leases:
            self._leases.renew(lease.attempt.fencing_token, now_ns)
            lease.attempt.lease_expires_at.CopyFrom(self._expires_at())

    def _renewed(
        self, renewal: pb.LeaseRenewal, directive: pb.LeaseDirective
    ) -> pb.LeaseRenewalResult:
        result = pb.LeaseRenewalResult(task_id=renewal.attempt.task_id, directive=directive)
        if directive == pb.LEASE_DIRECTIVE_CONTINUE:
            self._leases.renew(renewal.attempt.fencing_token, self._environment.monotonic_ns())
            result.expires_at.CopyFrom(self._expires_at())
        return result

    def _expires_at(self) -> Timestamp:
        return timestamp(self._environment.now_ns() + self._lease_ns)

    def _counted(self, results: Sequence[pb.ReportResult]) -> Sequence[pb.ReportResult]:
        """Count stale reports, and wake who waits for ready tasks."""
        self._stale.inc(sum(result.error.reason == "STALE_TOKEN" for result in results))
        self._ready.wake()
        return results

    async def _expire_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ns / SECOND / _EXPIRIES_PER_LEASE)
            try:
                await self._expire_due()
            except CoordError as error:
                log.warning("leases could not be expired", error=str(error))

    async def _expire_due(self) -> None:
        live = {token: project for project, token in self._store.live()}
        due: defaultdict[str, list[int]] = defaultdict(list)
        for token in self._leases.due(live, self._environment.monotonic_ns()):
            due[live[token]].append(token)
        for project, tokens in due.items():
            expired = await self._store.expire(project, tokens)
            log.info("leases expired", project=project, attempts=expired)
            self._expired.inc(expired)
            self._ready.wake()
