"""What a worker asks for on its stream: claims, calls to models, conflicts, messages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from coord.errors import CoordError
from coord.times import duration
from coord.v1 import claims_pb2, common_pb2, integrator_pb2, limiter_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.admission import Admission
from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.mail import Mail
from coord_coordinator.services import Services
from coord_coordinator.turns import Answer, Question, Turns
from coord_coordinator.workers import Worker

log = structlog.get_logger(__name__)


class Asks:
    """Answers what workers ask for. Every question may come twice, and gets the same answer."""

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        claims: Claims,
        mail: Mail,
        admission: Admission,
        *,
        has_repository: bool,
    ) -> None:
        self._fleet = fleet
        self._services = services
        self._claims = claims
        self._mail = mail
        self._has_repository = has_repository
        self._turns = Turns(services.environment)
        fleet.farewells.append(self._turns.leave)
        self._again: dict[asyncio.Task[None], None] = {}
        self._handlers: dict[str, Callable[[Worker, Any], Awaitable[None]]] = {
            "call_request": admission.hear,
            "call_settlement": admission.hear_settlement,
            "claim_release": self._claim_release,
            "conflict_check": self._conflict_check,
            "rate_request": self._rate_request,
            "rate_settlement": self._rate_settlement,
            "request": self._request,
            "worker_message": self._worker_message,
        }

    def answers(self, kind: str) -> bool:
        """Tell whether a kind of message is a question."""
        return kind in self._handlers

    async def handle(self, worker: Worker, request: pb.ConnectRequest) -> None:
        """Answer a question; on return the answer is on its way."""
        kind = str(request.WhichOneof("message"))
        await self._handlers[kind](worker, getattr(request, kind))

    def greet(self, worker: Worker) -> None:
        """Tell a worker that has come, or come back after a restart of ours, what waits for it."""
        self._mail.deliver(worker)
        self._claims.remind(worker)
        for request in worker.session.asks.values():
            again = asyncio.create_task(self._ask_again(worker, request))
            self._again[again] = None
            again.add_done_callback(self._again.pop)

    def delivered(self, worker: Worker, messages: Iterable[pb.ConnectResponse]) -> None:
        """Note what a worker has handled."""
        for message in messages:
            if message.WhichOneof("message") == "worker_message":
                self._mail.acknowledged(worker.name, message.worker_message.message_id)

    async def stop(self) -> None:
        """Stop asking the limiter."""
        for again in self._again:
            again.cancel()
        await asyncio.gather(self._turns.stop(), *self._again, return_exceptions=True)

    async def _ask_again(self, worker: Worker, request: pb.ConnectRequest) -> None:
        """Take up what an earlier coordinator has left unanswered."""
        try:
            await self.handle(worker, request)
        except CoordError as error:
            log.warning("not asked again", worker=worker.name, error=str(error))

    async def _request(self, worker: Worker, request: claims_pb2.ClaimRequest) -> None:
        attempt = request.attempt
        if request.HasField("attempt") and attempt.fencing_token not in worker.attempts:
            message = "the attempt is not this worker's (any more)"
            _refuse(worker, request.claim_id, "STALE_TOKEN", message)
            return
        result = await self._claims.ask(worker.name, request, told=True)
        if result.HasField("claim"):
            worker.session.push(proceed=pb.Proceed(claim=result.claim))
        elif result.HasField("wait"):
            worker.session.push(wait=pb.Wait(claim_id=result.claim_id, wait=result.wait))
        else:
            worker.session.push(refusal=pb.Refusal(id=result.claim_id, reason=result.refusal))

    async def _claim_release(self, worker: Worker, release: pb.ClaimRelease) -> None:
        await self._claims.release(worker.name, [release.claim_id])

    async def _rate_request(self, worker: Worker, request: pb.RateRequest) -> None:
        async def ask(wait_ns: int) -> Answer:
            return _rate_answer(request.rate_id, await self._acquire(worker, request, wait_ns))

        def put_off(reason: common_pb2.Reason) -> dict[str, Any]:
            return {"rate_wait": pb.RateWait(rate_id=request.rate_id, reason=reason)}

        question = Question(request.rate_id, {"rate_request": request}, ask, put_off)
        await self._turns.hear(worker, question)

    async def _acquire(
        self, worker: Worker, request: pb.RateRequest, wait_ns: int
    ) -> limiter_pb2.GrantResult:
        wanted = limiter_pb2.GrantRequest(
            grant_id=_name(worker, request.rate_id),
            buckets=request.buckets or worker.hello.buckets,
            estimate=request.estimate,
            required=request.buckets,
        )
        response = await self._services.insist(
            self._services.limiter.AcquireGrants,
            limiter_pb2.AcquireGrantsRequest(
                project=self._fleet.project,
                worker=worker.name,
                requests=[wanted],
                wait=duration(wait_ns),
            ),
        )
        return response.results[0]

    async def _rate_settlement(self, worker: Worker, settlement: pb.RateSettlement) -> None:
        self._turns.end(worker, settlement.rate_id)
        project, limiter = self._fleet.project, self._services.limiter
        grant_id = _name(worker, settlement.rate_id)
        if not settlement.HasField("actual"):
            await self._services.insist(
                limiter.ReleaseGrants,
                limiter_pb2.ReleaseGrantsRequest(
                    project=project, worker=worker.name, grant_ids=[grant_id]
                ),
            )
            return
        one = limiter_pb2.GrantSettlement(grant_id=grant_id, actual=settlement.actual)
        await self._services.insist(
            limiter.SettleGrants,
            limiter_pb2.SettleGrantsRequest(project=project, worker=worker.name, settlements=[one]),
        )

    async def _conflict_check(self, worker: Worker, check: pb.ConflictCheck) -> None:
        if not self._has_repository:
            _refuse(worker, check.check_id, "NO_WORKTREE", "the project has no repository")
            return
        request = integrator_pb2.CheckConflictsRequest(
            project=self._fleet.project, worker=worker.name
        )
        try:
            found = await self._services.insist(self._services.integrator.CheckConflicts, request)
        except CoordError as error:
            _refuse(worker, check.check_id, error.reason, error.message)
            return
        conflicts = [
            pb.ConflictWith(
                worker=one.worker,
                attempt=one.attempt if one.HasField("attempt") else None,
                paths=one.paths,
                hunks=one.hunks,
            )
            for one in found.conflicts
        ]
        conflict = pb.Conflict(check_id=check.check_id, attempt=found.attempt, conflicts=conflicts)
        worker.session.push(conflict=conflict)

    async def _worker_message(self, worker: Worker, message: pb.WorkerMessage) -> None:
        try:
            await self._mail.send(worker.name, message)
        except CoordError as error:
            _refuse(worker, message.message_id, error.reason, error.message)


def _refuse(worker: Worker, asked: str, code: str, message: str) -> None:
    reason = common_pb2.Reason(code=code, message=message)
    worker.session.push(refusal=pb.Refusal(id=asked, reason=reason))


def _name(worker: Worker, rate_id: str) -> str:
    """Return the name under which a rate request has its grant: no other worker's can have it."""
    return f"rate/{worker.name}/{rate_id}"


def _rate_answer(rate_id: str, result: limiter_pb2.GrantResult) -> Answer:
    if result.HasField("grant"):
        grant = pb.RateGrant(rate_id=rate_id, expires_at=result.grant.expires_at)
        return Answer({"rate_grant": grant})
    if result.HasField("refusal"):
        return Answer({"refusal": pb.Refusal(id=rate_id, reason=result.refusal.reason)})
    wait = result.wait
    told = pb.RateWait(rate_id=rate_id, retry_after=wait.retry_after, reason=wait.reason)
    return Answer({"rate_wait": told}, waits=True)
