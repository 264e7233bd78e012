"""From a lease that a worker was given to the attempt that it has: claims, money and worktree."""

import asyncio

import structlog
from coord.errors import CoordError
from coord.times import SECOND
from coord.v1 import claims_pb2, common_pb2, integrator_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.peers import insist

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money
from coord_coordinator.obstacles import Obstacles
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.workers import Unready, Worker, WorkerAttempt

# After a worktree could not be set up.
_UNREADY_S, _UNREADY_S_MAX = 2.0, 600.0
_WORKTREE_S = 600.0

# No attempt has its token: what the worker's other attempts claim is in its way.
_TO_COME = common_pb2.AttemptRef(fencing_token=2**63 - 1)

log = structlog.get_logger(__name__)


class Delivery:
    """Prepares what attempts need, and hands them to their workers."""

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        money: Money,
        reports: Reports,
        claims: Claims,
        *,
        obstacles: Obstacles,
        has_repository: bool,
    ) -> None:
        self._fleet = fleet
        self._services = services
        self._money = money
        self._reports = reports
        self._claims = claims
        self._obstacles = obstacles
        self._has_repository = has_repository
        self._underway: dict[asyncio.Task[None], None] = {}

    async def stop(self) -> None:
        """Stop deliveries that are under way; the next coordinator gives them back."""
        for delivery in self._underway:
            delivery.cancel()
        await asyncio.gather(*self._underway, return_exceptions=True)

    async def begin(
        self, worker: Worker, lease: queue_pb2.Lease, grant_id: str = "", *, queues: bool
    ) -> None:
        """Note that a worker has an attempt, and go on to deliver it; or give it back.

        Args:
            worker: Who has the lease.
            lease: As the queue gave it.
            grant_id: The grant that was taken for it, if there was one.
            queues: Whether tasks queue at workers whose slots are taken.
        """
        attempt = self._attempt(lease, grant_id)
        # Either may have come to be while the queue was asked.
        standstill = self._obstacles.standstill()
        if standstill is not None:
            await self._reports.give_back(worker, attempt, standstill.message)
            return
        if worker.room(queues=queues) <= 0:
            await self._reports.give_back(worker, attempt, "its worker has gone")
            return
        if attempt.spec.paths and not await self._claim_declared(worker, attempt):
            await self._reports.give_back(worker, attempt, "its paths were claimed meanwhile")
            return
        self._fleet.give(worker, attempt)
        delivery = asyncio.create_task(self._deliver(worker, attempt, lease))
        self._underway[delivery] = None
        delivery.add_done_callback(self._underway.pop)

    async def fail(
        self,
        worker: Worker,
        lease: queue_pb2.Lease,
        reason: queue_pb2.FailureReason,
        message: str,
    ) -> None:
        """End an attempt that its worker never hears of."""
        await self._fail(worker, self._attempt(lease, ""), reason, message)

    async def _claim_declared(self, worker: Worker, attempt: WorkerAttempt) -> bool:
        """Claim what a task says that it will touch, until its change has landed."""
        claim = declared(attempt.spec, worker)
        request = claims_pb2.ClaimRequest(
            claim_id=f"{attempt.spec.id}@{attempt.token}",
            resources=claim.resources,
            attempt=attempt.ref,
        )
        return (await self._claims.ask(worker.name, request)).HasField("claim")

    async def _deliver(
        self, worker: Worker, attempt: WorkerAttempt, lease: queue_pb2.Lease
    ) -> None:
        """Prepare what an attempt needs and hand it to its worker, or give it back."""
        try:
            refusal = await self._money.reserve(attempt, worker.name, lease.previous.fencing_token)
            if refusal is not None:
                await self._reports.give_back(worker, attempt, refusal.reason.message)
                return
            worktree = await self._worktree(worker, attempt)
        except CoordError as error:
            log.warning("attempt not delivered", task=attempt.ref.task_id, error=str(error))
            if error.reason == "SETUP_FAILED":
                await self._put_off(worker, attempt, error)
                return
            reason = queue_pb2.FAILURE_REASON_AGENT_ERROR
            await self._fail(worker, attempt, reason, f"could not be prepared: {error}"[:1_000])
            return
        worker.unready = None
        # Who was told to stop it before it was there is not to begin it.
        if attempt.token in worker.attempts and not attempt.stopped:
            assigned = pb.Assigned(lease=lease, worktree=worktree, budget=attempt.budget)
            attempt.started = True
            worker.session.push(assigned=assigned)

    async def _put_off(self, worker: Worker, attempt: WorkerAttempt, error: CoordError) -> None:
        """Give an attempt back and leave its worker alone, longer each time.

        What is wrong with a worktree or its set-up is wrong with every task: it costs none of them
        an attempt.
        """
        wait_s = min(worker.unready.wait_s * 2, _UNREADY_S_MAX) if worker.unready else _UNREADY_S
        until_ns = self._fleet.environment.monotonic_ns() + round(wait_s * SECOND)
        reason = common_pb2.Reason(code=error.reason, message=error.message)
        worker.unready = Unready(reason, until_ns, wait_s)
        await self._reports.give_back(worker, attempt, error.message[:1_000])

    async def _worktree(
        self, worker: Worker, attempt: WorkerAttempt
    ) -> integrator_pb2.Worktree | None:
        if not self._has_repository:
            return None
        request = integrator_pb2.SetupWorktreeRequest(
            project=self._fleet.project, worker=worker.name, attempt=attempt.ref
        )
        integrator = self._services.integrator
        response = await insist(
            integrator.SetupWorktree, request, self._fleet.environment, limit_s=_WORKTREE_S
        )
        return response.worktree

    async def _fail(
        self,
        worker: Worker,
        attempt: WorkerAttempt,
        reason: queue_pb2.FailureReason,
        message: str,
    ) -> None:
        failure = queue_pb2.Failure(attempt=attempt.ref, reason=reason, message=message)
        await self._reports.fail(worker, attempt, failure)

    def _attempt(self, lease: queue_pb2.Lease, grant_id: str) -> WorkerAttempt:
        ref = common_pb2.AttemptRef(
            task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token
        )
        return WorkerAttempt(
            ref=ref,
            spec=lease.spec,
            assigned_ns=self._fleet.environment.now_ns(),
            grant_id=grant_id,
        )


def declared(spec: queue_pb2.TaskSpec, worker: Worker) -> claims_pb2.Claim:
    """Return the claim that a task's declared paths amount to, of an attempt that is to come."""
    resources = [claims_pb2.Resource(path=path) for path in spec.paths if not path.startswith("!")]
    return claims_pb2.Claim(holder=worker.name, attempt=_TO_COME, resources=resources)
