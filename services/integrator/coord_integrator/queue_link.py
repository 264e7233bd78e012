"""What the integrator says to the queue."""

from collections.abc import Sequence

import grpc.aio
from coord.errors import from_rpc
from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from coord_integrator.store import Report

_TIMEOUT_S = 15.0
_BATCH = 500
_PAGE = 1_000

Directive = queue_pb2.LeaseDirective


class QueueLink:
    """Calls the queue. Each method raises the queue's `CoordError`, also where it is away."""

    def __init__(self, channel: grpc.aio.Channel, project: str) -> None:
        self._stub = queue_pb2_grpc.QueueServiceStub(channel)
        self._project = project

    async def submit(
        self, worker: str, attempt: common_pb2.AttemptRef
    ) -> common_pb2.ItemError | None:
        """Move the lease of a worker's attempt to the integrator; return why it had no effect."""
        request = queue_pb2.SubmitTasksRequest(
            project=self._project, worker=worker, attempts=[attempt]
        )
        try:
            response = await self._stub.SubmitTasks(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None
        return _error(response.results[0])

    async def task(self, task_id: str) -> queue_pb2.Task:
        """Return a task."""
        request = queue_pb2.GetTaskRequest(project=self._project, task_id=task_id)
        try:
            return (await self._stub.GetTask(request, timeout=_TIMEOUT_S)).task
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None

    async def merging(self) -> list[queue_pb2.Task]:
        """Return the tasks in MERGING, without their prompts."""
        request = queue_pb2.ListTasksRequest(
            project=self._project, page_size=_PAGE, states=[queue_pb2.TASK_STATE_MERGING]
        )
        found: list[queue_pb2.Task] = []
        while True:
            try:
                page = await self._stub.ListTasks(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from None
            found += page.tasks
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def renew(self, attempts: Sequence[common_pb2.AttemptRef]) -> list[Directive]:
        """Prolong leases; return what each attempt is to do."""
        directives: list[Directive] = []
        for begin in range(0, len(attempts), _BATCH):
            batch = attempts[begin : begin + _BATCH]
            renewals = [queue_pb2.LeaseRenewal(attempt=attempt) for attempt in batch]
            request = queue_pb2.RenewLeasesRequest(project=self._project, renewals=renewals)
            try:
                response = await self._stub.RenewLeases(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from None
            directives += [result.directive for result in response.results]
        return directives

    async def report(self, report: Report) -> common_pb2.ItemError | None:
        """Report how an attempt has ended; return why that had no effect."""
        try:
            if isinstance(report, queue_pb2.Completion):
                completed = await self._stub.CompleteTasks(
                    queue_pb2.CompleteTasksRequest(project=self._project, completions=[report]),
                    timeout=_TIMEOUT_S,
                )
                return _error(completed.results[0])
            failed = await self._stub.FailTasks(
                queue_pb2.FailTasksRequest(project=self._project, failures=[report]),
                timeout=_TIMEOUT_S,
            )
            return _error(failed.results[0])
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None


def _error(result: queue_pb2.ReportResult) -> common_pb2.ItemError | None:
    return result.error if result.HasField("error") else None
