"""Keeping what is alive alive: leases renewed in batches, silent workers buried."""

import asyncio

import structlog
from coord.errors import CoordError
from coord.times import from_seconds
from coord.v1 import coordinator_pb2 as pb
from coord.v1 import ledger_pb2, queue_pb2

from coord_coordinator.adoption import Adoption
from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.settings import CoordinatorSettings
from coord_coordinator.workers import Worker, WorkerAttempt

log = structlog.get_logger(__name__)

_BATCH_MAX = 1_000
# Where no attempt is live.
_ENDED = frozenset(
    {
        queue_pb2.TASK_STATE_ABORTED,
        queue_pb2.TASK_STATE_CANCELLED,
        queue_pb2.TASK_STATE_COMPLETE,
        queue_pb2.TASK_STATE_FAILED,
        queue_pb2.TASK_STATE_PENDING,
    }
)
# Frees nobody and readies nothing.
_TAKEN_ON = frozenset({queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING})
# A pause of ours longer than this share of the grace is not held against the workers.
_PAUSE_SHARE = 4


class Liveness:
    """Watches over the workers."""

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        reports: Reports,
        adoption: Adoption,
        *,
        claims: Claims,
        money: Money,
        settings: CoordinatorSettings,
    ) -> None:
        self._fleet = fleet
        self._services = services
        self._reports = reports
        self._adoption = adoption
        self._claims = claims
        self._money = money
        self._settings = settings

    async def run(self) -> None:
        """Renew and look, until cancelled."""
        renew_s, grace_ns = self._settings.renew_s, from_seconds(self._settings.grace_s)
        while True:
            begin_ns = self._fleet.environment.monotonic_ns()
            await asyncio.sleep(renew_s)
            paused_ns = self._fleet.environment.monotonic_ns() - begin_ns - from_seconds(renew_s)
            if paused_ns > grace_ns / _PAUSE_SHARE:
                # We were not there to hear: the silence was ours.
                self._fleet.hear_all()
            self._bury_silent(grace_ns)
            self._bury_deaf(grace_ns)
            await self._renew()
            await self._extend_grants()

    async def watch_workers(self) -> None:
        """Look how sure it is that each worker is alive, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_s / 2)
            try:
                await self._fleet.look(from_seconds(2 * self._settings.heartbeat_s))
            except CoordError as error:
                log.warning("what was seen of workers could not be stored", error=str(error))

    def _bury_silent(self, grace_ns: int) -> None:
        for worker in self._fleet.silent(grace_ns):
            silence = f"nothing was heard of it for {self._settings.grace_s:g} s"
            self._adoption.begin_burial(worker, silence)

    def _bury_deaf(self, grace_ns: int) -> None:
        """Bury each worker that talks, but does not take what it is told."""
        for worker in self._fleet.deaf(grace_ns):
            backlog = worker.session.backlog
            why = f"it does not read: {backlog} messages wait for it"
            self._adoption.begin_burial(worker, why)

    async def watch_tasks(self) -> None:
        """Wake the dispatch with every change of a task; stop cancelled attempts at once."""
        queue = self._services.queue
        request = queue_pb2.WatchQueueEventsRequest(project=self._fleet.project, after=-1)
        async for event in self._services.follow(queue.WatchQueueEvents, request):
            if event.to_state in _TAKEN_ON:
                continue
            self._fleet.changed.wake()
            if event.to_state in _ENDED and event.fencing_token:
                await self._claims.end_attempt(event.fencing_token)
            if event.to_state == queue_pb2.TASK_STATE_CANCELLED:
                holder = self._fleet.holder(event.fencing_token)
                if holder is not None:
                    attempt = holder.attempts[event.fencing_token]
                    await self._obey(holder, attempt, queue_pb2.LEASE_DIRECTIVE_CANCEL)

    async def watch_budgets(self) -> None:
        """Warn the workers whose task has spent most of its budget."""
        ledger = self._services.ledger
        request = ledger_pb2.WatchLedgerEventsRequest(project=self._fleet.project, after=-1)
        async for event in self._services.follow(ledger.WatchLedgerEvents, request):
            kind = event.WhichOneof("kind")
            if kind == "budget_set":
                self._money.note_budget(event.budget_set.balance.scope)
            if kind == "budget_warned":
                self._warn(event.budget_warned.balance)

    def _warn(self, balance: ledger_pb2.Balance) -> None:
        if balance.scope.kind != ledger_pb2.SCOPE_KIND_TASK:
            return
        for worker in self._fleet.workers.values():
            for attempt in worker.attempts.values():
                if attempt.ref.task_id == balance.scope.id:
                    warning = pb.BudgetWarning(attempt=attempt.ref, balance=balance)
                    worker.session.push(budget_warning=warning)

    async def _renew(self) -> None:
        held = [
            (worker, attempt)
            for worker in self._fleet.workers.values()
            for attempt in worker.attempts.values()
        ]
        for worker, attempt in held:
            if attempt.forsaken:
                self._adoption.begin_disowning(worker, attempt)
        for begin in range(0, len(held), _BATCH_MAX):
            try:
                await self._renew_batch(held[begin : begin + _BATCH_MAX])
            except CoordError as error:
                log.warning("leases could not be renewed", error=str(error))

    async def _extend_grants(self) -> None:
        """Keep the grants of attempts, which may last longer than the limiter remembers one."""
        grants = [
            attempt.grant_id
            for worker in self._fleet.workers.values()
            for attempt in worker.attempts.values()
            if attempt.grant_id
        ]
        for begin in range(0, len(grants), _BATCH_MAX):
            try:
                await self._money.extend_grants(grants[begin : begin + _BATCH_MAX])
            except CoordError as error:
                log.warning("grants could not be extended", error=str(error))

    async def _renew_batch(self, held: list[tuple[Worker, WorkerAttempt]]) -> None:
        stored = [attempt for _, attempt in held if not attempt.progress_stored]
        request = queue_pb2.RenewLeasesRequest(
            project=self._fleet.project, renewals=[_renewal(attempt) for _, attempt in held]
        )
        for attempt in stored:
            attempt.progress_stored = True
        try:
            response = await self._services.ask(self._services.queue.RenewLeases, request)
        except CoordError:
            for attempt in stored:
                attempt.progress_stored = False
            raise
        for (worker, attempt), result in zip(held, response.results, strict=True):
            await self._obey(worker, attempt, result.directive)

    async def _obey(
        self, worker: Worker, attempt: WorkerAttempt, directive: queue_pb2.LeaseDirective
    ) -> None:
        """Tell a worker to stop an attempt that the queue does not let go on."""
        ended = attempt.ending or attempt.token not in worker.attempts
        if directive == queue_pb2.LEASE_DIRECTIVE_CONTINUE or ended:
            return
        if directive == queue_pb2.LEASE_DIRECTIVE_CANCEL:
            worker.cancel(attempt.ref)
        else:
            worker.revoke(attempt.ref, "the lease was lost")
        await self._reports.end(worker, attempt)


def _renewal(attempt: WorkerAttempt) -> queue_pb2.LeaseRenewal:
    progress = None if attempt.progress_stored else attempt.progress
    return queue_pb2.LeaseRenewal(attempt=attempt.ref, progress=progress)
