"""What a worker reports, and what follows from it. Every report may come twice."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog
from coord.errors import CoordError
from coord.times import timestamp_ns
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.batches import Batches
from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money, add_usage
from coord_coordinator.services import Services
from coord_coordinator.stealing import Stealing
from coord_coordinator.workers import Worker, WorkerAttempt

_LAST = frozenset({"complete", "failed", "released"})
# What an agent cannot report whose provider has refused it.
_ANSWERED = frozenset({"complete", "progress", "spent"})

# What may be the worker's own fault, rather than the task's or the provider's.
_OWN_FAILURES = frozenset(
    {
        queue_pb2.FAILURE_REASON_AGENT_CRASHED,
        queue_pb2.FAILURE_REASON_AGENT_ERROR,
        queue_pb2.FAILURE_REASON_TIMEOUT,
    }
)

log = structlog.get_logger(__name__)


class Reports:
    """Passes on what workers report.

    Attributes:
        hand_over: Delivers an attempt that was stolen to the worker that has it now.
    """

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        money: Money,
        stealing: Stealing,
        *,
        has_repository: bool,
    ) -> None:
        self.hand_over: Callable[[Worker, queue_pb2.Lease], Awaitable[None]] = _nowhere
        self._fleet = fleet
        self._services = services
        self._money = money
        self._stealing = stealing
        self._has_repository = has_repository
        # That an attempt is the worker's who reports it was seen before.
        self._starts = Batches(self._start_all)
        self._completions = Batches(self._complete_all)

    def hear(self, worker: Worker, request: pb.ConnectRequest) -> None:
        """Note that an attempt ends; what its worker said before may still wait for its effect."""
        kind = str(request.WhichOneof("message"))
        if kind in _LAST:
            attempt = worker.attempts.get(getattr(request, kind).attempt.fencing_token)
            if attempt is not None:
                attempt.ending = True

    async def handle(self, worker: Worker, request: pb.ConnectRequest) -> None:
        """Give a numbered message its effect; on return that is on disk."""
        kind = request.WhichOneof("message")
        handlers: dict[str, Callable[[Worker, WorkerAttempt, Any], Awaitable[None]]] = {
            "complete": self._complete,
            "failed": self._failed,
            "progress": self._progress,
            "released": self._released,
            "spent": self._spent,
            "started": self._started,
        }
        message = getattr(request, str(kind))
        attempt = worker.attempts.get(message.attempt.fencing_token)
        if attempt is None or attempt.ref.task_id != message.attempt.task_id:
            if kind == "spent":
                await self._spent_late(worker, message)
            worker.revoke(message.attempt, "the attempt is not this worker's (any more)")
            return
        attempt.ending = attempt.ending or kind in _LAST
        if kind == "complete" and self._fleet.breaker.succeed(worker.name):
            await self._fleet.tell(worker, "BREAKER_CLOSED", "it has completed a task again")
        if kind in _ANSWERED:
            self._fleet.answered(worker)
        try:
            await handlers[str(kind)](worker, attempt, message)
        except CoordError as error:
            log.warning("report refused", worker=worker.name, kind=kind, error=str(error))
            await self._refused(worker, attempt, error)

    async def end(self, worker: Worker, attempt: WorkerAttempt) -> None:
        """Forget an attempt that has ended, and let go of what it held."""
        self._fleet.take(worker, attempt.token)
        await self._money.let_go(attempt, worker.name)

    async def lose(self, worker: Worker, attempt: WorkerAttempt, message: str) -> None:
        """End an attempt whose worker was lost; its work was saved before."""
        failure = queue_pb2.Failure(
            attempt=attempt.ref, reason=queue_pb2.FAILURE_REASON_WORKER_LOST, message=message
        )
        await self.fail(worker, attempt, failure)

    async def save(self, worker: Worker, attempts: Iterable[WorkerAttempt]) -> None:
        """Keep what attempts that end have left in their worker's worktree."""
        if not self._has_repository:
            return
        request = integrator_pb2.SnapshotWorktreeRequest(
            project=self._fleet.project,
            worker=worker.name,
            ended=[attempt.ref for attempt in attempts],
        )
        try:
            await self._services.insist(self._services.integrator.SnapshotWorktree, request)
        except CoordError as error:
            if error.reason != "WORKTREE_NOT_FOUND":
                # The worktree itself is kept until a snapshot succeeds.
                log.warning("work could not be saved", worker=worker.name, error=str(error))

    async def _refused(self, worker: Worker, attempt: WorkerAttempt, error: CoordError) -> None:
        """End an attempt whose report was refused: its worker cannot do better by repeating it."""
        worker.revoke(attempt.ref, error.message)
        if error.reason == "STALE_TOKEN":
            await self.end(worker, attempt)
            return
        await self.save(worker, [attempt])
        failure = queue_pb2.Failure(
            attempt=attempt.ref,
            reason=queue_pb2.FAILURE_REASON_AGENT_ERROR,
            message=f"what the worker reported was refused: {error}"[:1_000],
        )
        await self.fail(worker, attempt, failure)

    async def _started(self, worker: Worker, attempt: WorkerAttempt, _: pb.Started) -> None:
        attempt.running = True
        result = await self._starts.add(attempt.ref)
        if result.HasField("error"):
            worker.revoke(attempt.ref, result.error.message)
            await self.end(worker, attempt)

    async def _start_all(
        self, attempts: list[common_pb2.AttemptRef]
    ) -> Sequence[queue_pb2.ReportResult]:
        request = queue_pb2.StartTasksRequest(project=self._fleet.project, attempts=attempts)
        return (await self._services.insist(self._services.queue.StartTasks, request)).results

    async def _complete_all(
        self, completions: list[queue_pb2.Completion]
    ) -> Sequence[queue_pb2.ReportResult]:
        request = queue_pb2.CompleteTasksRequest(
            project=self._fleet.project, completions=completions
        )
        return (await self._services.insist(self._services.queue.CompleteTasks, request)).results

    async def _complete(self, worker: Worker, attempt: WorkerAttempt, message: pb.Complete) -> None:
        await self._store_progress(attempt)
        if attempt.spec.expects_change and not await self._has_change(worker):
            failure = queue_pb2.Failure(
                attempt=attempt.ref,
                reason=queue_pb2.FAILURE_REASON_NO_CHANGE,
                message="the agent says that it is done, but has changed nothing",
                detail=message.message,
            )
            await self.fail(worker, attempt, failure)
            return
        if self._has_repository:
            await self._submit(worker, attempt)
        else:
            completion = queue_pb2.Completion(attempt=attempt.ref, message=message.message)
            await self._completions.add(completion)
        await self.end(worker, attempt)

    async def _has_change(self, worker: Worker) -> bool:
        """Tell whether a worktree holds what its base does not; True without a repository."""
        if not self._has_repository:
            return True
        request = integrator_pb2.SnapshotWorktreeRequest(
            project=self._fleet.project, worker=worker.name
        )
        response = await self._services.insist(self._services.integrator.SnapshotWorktree, request)
        return response.HasField("snapshot")

    async def _submit(self, worker: Worker, attempt: WorkerAttempt) -> None:
        request = integrator_pb2.SubmitChangeRequest(
            project=self._fleet.project,
            worker=worker.name,
            attempt=attempt.ref,
            title=attempt.spec.title or attempt.spec.id,
            cost=attempt.spent if attempt.spent.currency else None,
        )
        await self._services.insist(self._services.integrator.SubmitChange, request)

    async def _failed(self, worker: Worker, attempt: WorkerAttempt, message: pb.Failed) -> None:
        await self._hold_back(worker, message)
        full = await self._full_disk(message)
        await self.save(worker, [attempt])
        if full:
            await self.give_back(worker, attempt, full)
            return
        await self._note_failure(worker, attempt, message.reason)
        failure = queue_pb2.Failure(
            attempt=attempt.ref,
            reason=message.reason,
            message=message.message,
            detail=message.detail,
            not_before=message.not_before if message.HasField("not_before") else None,
        )
        if message.reason == queue_pb2.FAILURE_REASON_RATE_LIMITED and worker.hello.provider:
            # Workers of other providers may go on with it at once.
            failure.ClearField("not_before")
        await self.fail(worker, attempt, failure)

    async def _full_disk(self, message: pb.Failed) -> str:
        """Say that the repository's disk is full, where that may be why an agent has failed."""
        if not self._has_repository or message.reason != queue_pb2.FAILURE_REASON_AGENT_ERROR:
            return ""
        full = await self._services.full_repository(self._fleet.project)
        return full.message if full else ""

    async def _note_failure(
        self, worker: Worker, attempt: WorkerAttempt, reason: queue_pb2.FailureReason
    ) -> None:
        """Give a worker a rest that fails again and again while others do not."""
        if reason in _OWN_FAILURES and self._fleet.breaker.fail(worker.name, attempt.ref.task_id):
            why = self._fleet.breaker.reason(worker.name)
            if why is not None:
                await self._fleet.announce(worker, why)

    async def _hold_back(self, worker: Worker, message: pb.Failed) -> None:
        """Give nothing more to whom it would not help, before the task can be given again."""
        if message.reason == queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE and not worker.unavailable:
            worker.unavailable = True
            await self._fleet.tell(worker, "AGENT_UNAVAILABLE", message.message)
        if message.reason != queue_pb2.FAILURE_REASON_RATE_LIMITED:
            return
        begins = self._fleet.backoff.limit(worker, timestamp_ns(message.not_before))
        reason = self._fleet.backoff.reason(worker)
        if begins and reason is not None:
            await self._fleet.announce(worker, reason)

    async def fail(
        self, worker: Worker, attempt: WorkerAttempt, failure: queue_pb2.Failure
    ) -> None:
        """End an attempt without success."""
        # The queue may answer a renewal before we know that it has ended: nobody is to be told.
        attempt.ending = True
        await self._store_progress(attempt)
        request = queue_pb2.FailTasksRequest(
            project=self._fleet.project, worker=worker.name, failures=[failure]
        )
        await self._services.insist(self._services.queue.FailTasks, request)
        await self.end(worker, attempt)

    async def _released(self, worker: Worker, attempt: WorkerAttempt, message: pb.Released) -> None:
        await self.save(worker, [attempt])
        try:
            await self._let_go(worker, attempt, message)
        finally:
            self._stealing.end(attempt)

    async def _let_go(self, worker: Worker, attempt: WorkerAttempt, message: pb.Released) -> None:
        taken = await self._stealing.take(attempt)
        if taken is None:
            await self.give_back(worker, attempt, message.message)
            return
        await self.end(worker, attempt)
        await self.hand_over(*taken)

    async def give_back(self, worker: Worker, attempt: WorkerAttempt, message: str) -> None:
        """End an attempt as if it had not been."""
        attempt.ending = True  # As in `fail`.
        release = queue_pb2.Release(
            attempt=attempt.ref,
            message=message,
            progress=attempt.progress if attempt.progress.summary else None,
        )
        request = queue_pb2.ReleaseTasksRequest(
            project=self._fleet.project, worker=worker.name, releases=[release]
        )
        await self._services.insist(self._services.queue.ReleaseTasks, request)
        await self.end(worker, attempt)

    async def _progress(
        self, _: Worker, attempt: WorkerAttempt, message: pb.ProgressReport
    ) -> None:
        attempt.progress.CopyFrom(message.progress)
        attempt.progress_stored = False

    async def _spent(self, worker: Worker, attempt: WorkerAttempt, message: pb.Spent) -> None:
        exceeded = None
        if message.HasField("amount"):
            exceeded = await self._money.spend(worker, attempt, message)
        add_usage(attempt.usage, message.usage)
        if exceeded is not None and not attempt.overspent:
            attempt.overspent = True
            worker.session.push(
                budget_exceeded=pb.BudgetStop(attempt=attempt.ref, balance=exceeded)
            )

    async def _spent_late(self, worker: Worker, message: pb.Spent) -> None:
        """Book what was spent on an attempt of this worker's that has ended: it was spent."""
        request = queue_pb2.GetTaskRequest(
            project=self._fleet.project, task_id=message.attempt.task_id
        )
        try:
            task = (await self._services.insist(self._services.queue.GetTask, request)).task
        except CoordError as error:
            log.warning("cost of an unknown task", worker=worker.name, error=str(error))
            return
        told = (message.attempt.fencing_token, worker.name)
        known = {(one.fencing_token, one.worker) for one in task.attempts}
        if message.HasField("amount") and told in known:
            ended = WorkerAttempt(ref=message.attempt, spec=task.spec, assigned_ns=0)
            try:
                await self._money.spend(worker, ended, message)
            except CoordError as error:
                log.warning("late cost refused", worker=worker.name, error=str(error))

    async def _store_progress(self, attempt: WorkerAttempt) -> None:
        if attempt.progress_stored:
            return
        renewal = queue_pb2.LeaseRenewal(attempt=attempt.ref, progress=attempt.progress)
        request = queue_pb2.RenewLeasesRequest(project=self._fleet.project, renewals=[renewal])
        try:
            await self._services.insist(self._services.queue.RenewLeases, request)
            attempt.progress_stored = True
        except CoordError as error:
            # The end of an attempt does not hang on its progress.
            log.warning("progress refused", task=attempt.ref.task_id, error=str(error))


async def _nowhere(worker: Worker, lease: queue_pb2.Lease) -> None:
    message = f"nobody delivers {lease.spec.id} to {worker.name}"
    raise RuntimeError(message)
