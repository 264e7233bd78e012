"""Admission of calls to models: money and tokens in one step, bound to an attempt.

Tokens first, since they may have to be waited for, and money is never held meanwhile; then the
money, and where there is too little of it, the tokens are given back. Both are taken under names
made from the call's id, so that whoever dies in between asks again and gets the same, or lets it
expire.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog
from coord.calls import BUSY
from coord.times import SECOND, duration
from coord.v1 import admission_pb2, common_pb2, ledger_pb2, limiter_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.fleet import Fleet
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.services import Services
from coord_coordinator.turns import TURN_NS, Answer, Question, Turns
from coord_coordinator.workers import Purse, Worker, WorkerAttempt

# A call of which nothing was told by then is posted at its estimate; a later word corrects that.
# Until then nobody knows what is left of its task's budget, and the task may have to wait for it.
_TTL = duration(600 * SECOND)

log = structlog.get_logger(__name__)


class Admission:
    """Asks the limiter and the ledger on behalf of calls."""

    def __init__(
        self, fleet: Fleet, services: Services, purse: Purse, metrics: CoordinatorMetrics
    ) -> None:
        self._fleet = fleet
        self._services = services
        self._purse = purse
        self._metrics = metrics
        self._turns = Turns(services.environment)
        fleet.farewells.append(self._turns.leave)

    async def admit(
        self, worker: str, request: admission_pb2.CallRequest, wait_ns: int
    ) -> admission_pb2.AdmitResponse:
        """Admit a call, after a wait of at most so long; tell a wait or a refusal otherwise."""
        response = await self._decide(worker, request, wait_ns)
        self._metrics.calls.labels(response.WhichOneof("outcome")).inc()
        return response

    async def settle(
        self, worker: str, settlements: Sequence[admission_pb2.CallSettlement]
    ) -> list[admission_pb2.CallSettlementResult]:
        """Correct what calls were charged, and pass on what their providers have said."""
        # Before anything is given back: nobody is to be admitted into a limit that was just hit.
        for one in settlements:
            if one.headers or one.status_code in BUSY:
                await self._report(worker, one)
        results, _ = await asyncio.gather(
            self._settle_money(worker, settlements), self._settle_tokens(worker, settlements)
        )
        for one, result in zip(settlements, results, strict=True):
            self._note_spent(worker, one, result)
        return results

    async def hear(self, worker: Worker, request: admission_pb2.CallRequest) -> None:
        """Answer a request on a stream; on return the answer, or that it waits, is on its way."""

        async def ask(wait_ns: int) -> Answer:
            return _answer(request, await self.admit(worker.name, request, wait_ns))

        def put_off(reason: common_pb2.Reason) -> dict[str, Any]:
            wait = admission_pb2.CallWait(call_id=request.call_id, reason=reason)
            return {"call_wait": wait}

        question = Question(request.call_id, {"call_request": request}, ask, put_off)
        await self._turns.hear(worker, question)

    async def hear_settlement(
        self, worker: Worker, settlement: admission_pb2.CallSettlement
    ) -> None:
        """Settle a call as its worker says on a stream; a request that waits is taken back."""
        self._turns.end(worker, settlement.call_id)
        (result,) = await self.settle(worker.name, [settlement])
        if result.HasField("error"):
            log.warning("call not settled", worker=worker.name, error=result.error.message)

    async def stop(self) -> None:
        """Stop waiting for calls."""
        await self._turns.stop()

    async def _decide(
        self, worker: str, request: admission_pb2.CallRequest, wait_ns: int
    ) -> admission_pb2.AdmitResponse:
        reservation = self._reservation(worker, request)
        if reservation is None:
            return _refused("STALE_TOKEN", "the attempt is not this worker's (any more)")
        result = await self._acquire(worker, request, 0)
        if result.HasField("wait") and wait_ns:
            # Not to wait in line for what there is no money for.
            refusal = await self._reserve(reservation, check_only=True)
            if refusal.HasField("refusal"):
                return refusal
            result = await self._acquire(worker, request, wait_ns)
            reservation = self._reservation(worker, request)
        if result.HasField("refusal"):
            return admission_pb2.AdmitResponse(refusal=result.refusal.reason)
        if result.HasField("wait"):
            return admission_pb2.AdmitResponse(wait=_waits(request, result.wait))
        if reservation is None:
            response = _refused("STALE_TOKEN", "the attempt has ended while the call waited")
        else:
            response = await self._reserve(reservation)
        if response.HasField("admission"):
            response.admission.call_id = request.call_id
        else:
            await self._release_tokens(worker, [_name(worker, request.call_id)])
        return response

    def _attempt(self, worker: str, ref: common_pb2.AttemptRef) -> WorkerAttempt | None:
        known = self._fleet.workers.get(worker)
        attempt = known.attempts.get(ref.fencing_token) if known else None
        return attempt if attempt and attempt.ref.task_id == ref.task_id else None

    def _reservation(
        self, worker: str, request: admission_pb2.CallRequest
    ) -> ledger_pb2.ReservationRequest | None:
        """Return what is to be reserved for a call; None where its attempt is not live."""
        wanted = ledger_pb2.ReservationRequest(
            reservation_id=_name(worker, request.call_id),
            usage=common_pb2.Usage(
                model=request.model,
                input_tokens=request.input_tokens,
                output_tokens=request.max_output_tokens,
                requests=1,
            ),
            min_output_tokens=request.min_output_tokens,
            ttl=_TTL,
        )
        if not request.HasField("attempt"):
            wanted.scopes.extend(self._purse.scopes(worker))
            return wanted
        attempt = self._attempt(worker, request.attempt)
        if attempt is None:
            return None
        if attempt.budget is not None:
            wanted.within = attempt.reservation_id
        else:
            wanted.scopes.extend(self._purse.scopes(worker, attempt.spec))
        return wanted

    async def _reserve(
        self, wanted: ledger_pb2.ReservationRequest, *, check_only: bool = False
    ) -> admission_pb2.AdmitResponse:
        request = ledger_pb2.ReserveFundsRequest(
            project=self._fleet.project, requests=[wanted], check_only=check_only
        )
        response = await self._services.insist(self._services.ledger.ReserveFunds, request)
        result = response.results[0]
        if result.HasField("error"):
            return _refused(result.error.reason, result.error.message)
        if result.HasField("refusal"):
            reason = result.refusal.reason
            tokens = result.refusal.available_output_tokens
            reason.metadata["available_output_tokens"] = str(tokens)
            return admission_pb2.AdmitResponse(refusal=reason)
        held = result.reservation
        admission = admission_pb2.CallAdmission(
            reserved=held.amount,
            max_output_tokens=held.max_output_tokens,
            expires_at=held.expires_at,
        )
        return admission_pb2.AdmitResponse(admission=admission)

    async def _acquire(
        self, worker: str, request: admission_pb2.CallRequest, wait_ns: int
    ) -> limiter_pb2.GrantResult:
        """Ask for tokens; return the answer that there is after a wait of at most so long."""
        wanted = limiter_pb2.GrantRequest(
            grant_id=_name(worker, request.call_id),
            buckets=self._buckets(worker, request.buckets, request.model),
            estimate=_quantities(request.input_tokens, request.max_output_tokens),
            lane=request.lane,
            required=request.buckets,
        )
        until_ns = self._fleet.environment.monotonic_ns() + wait_ns
        while True:
            left_ns = until_ns - self._fleet.environment.monotonic_ns()
            asking = limiter_pb2.AcquireGrantsRequest(
                project=self._fleet.project,
                worker=worker,
                requests=[wanted],
                wait=duration(max(0, min(left_ns, TURN_NS))),
            )
            response = await self._services.insist(self._services.limiter.AcquireGrants, asking)
            if not response.results[0].HasField("wait") or left_ns <= TURN_NS:
                return response.results[0]

    def _buckets(self, worker: str, named: Iterable[str], model: str) -> list[str]:
        """Return the buckets that a call counts for."""
        own = [f"model/{model}", *([f"worker/{worker}"] if worker else [])]
        return [*self._named(worker, named), *own]

    def _named(self, worker: str, named: Iterable[str]) -> list[str]:
        known = self._fleet.workers.get(worker)
        return list(named) or (list(known.hello.buckets) if known else [])

    async def _report(self, worker: str, settlement: admission_pb2.CallSettlement) -> None:
        named = self._named(worker, settlement.buckets)
        model = settlement.model or settlement.usage.model
        request = limiter_pb2.ReportProviderStateRequest(
            project=self._fleet.project,
            worker=worker,
            buckets=named or [f"model/{model}"],
            headers=settlement.headers,
            status_code=settlement.status_code,
        )
        await self._services.insist(self._services.limiter.ReportProviderState, request)

    async def _settle_money(
        self, worker: str, settlements: Sequence[admission_pb2.CallSettlement]
    ) -> list[admission_pb2.CallSettlementResult]:
        ledger, project = self._services.ledger, self._fleet.project
        made = [_settlement(worker, one) for one in settlements if _made(one)]
        unmade = [_name(worker, one.call_id) for one in settlements if not _made(one)]
        settling = ledger_pb2.SettleReservationsRequest(project=project, settlements=made)
        releasing = ledger_pb2.ReleaseReservationsRequest(project=project, reservation_ids=unmade)
        settled, released = await asyncio.gather(
            self._results(ledger.SettleReservations, settling if made else None),
            self._results(ledger.ReleaseReservations, releasing if unmade else None),
        )
        ends = (iter(settled), iter(released))
        return [_told(one, next(ends[0] if _made(one) else ends[1])) for one in settlements]

    async def _settle_tokens(
        self, worker: str, settlements: Sequence[admission_pb2.CallSettlement]
    ) -> None:
        used = [
            limiter_pb2.GrantSettlement(
                grant_id=_name(worker, one.call_id),
                actual=_quantities(
                    one.usage.input_tokens + one.usage.cache_write_tokens,
                    one.usage.output_tokens,
                ),
            )
            for one in settlements
            if _made(one)
        ]
        if used:
            request = limiter_pb2.SettleGrantsRequest(
                project=self._fleet.project, worker=worker, settlements=used
            )
            await self._services.insist(self._services.limiter.SettleGrants, request)
        unmade = [_name(worker, one.call_id) for one in settlements if not _made(one)]
        if unmade:
            await self._release_tokens(worker, unmade)

    async def _release_tokens(self, worker: str, grant_ids: list[str]) -> None:
        request = limiter_pb2.ReleaseGrantsRequest(
            project=self._fleet.project, worker=worker, grant_ids=grant_ids
        )
        await self._services.insist(self._services.limiter.ReleaseGrants, request)

    async def _results(
        self, call: Callable[..., Awaitable[Any]], request: Any
    ) -> Sequence[ledger_pb2.ReservationReportResult]:
        return [] if request is None else (await self._services.insist(call, request)).results

    def _note_spent(
        self,
        worker: str,
        settlement: admission_pb2.CallSettlement,
        result: admission_pb2.CallSettlementResult,
    ) -> None:
        attempt = self._attempt(worker, settlement.attempt)
        if attempt and result.HasField("actual") and settlement.call_id not in attempt.calls:
            attempt.calls.add(settlement.call_id)
            attempt.spent.currency = result.actual.currency
            attempt.spent.nanos += result.actual.nanos


def _name(worker: str, call_id: str) -> str:
    """Return the name under which a call has its money and its tokens."""
    return f"call/{worker}/{call_id}"


def _made(settlement: admission_pb2.CallSettlement) -> bool:
    return settlement.HasField("usage") or settlement.HasField("actual")


def _settlement(worker: str, one: admission_pb2.CallSettlement) -> ledger_pb2.Settlement:
    settlement = ledger_pb2.Settlement(
        reservation_id=_name(worker, one.call_id),
        actual=one.actual if one.HasField("actual") else None,
        usage=one.usage,
    )
    settlement.usage.model = one.usage.model or one.model
    settlement.usage.requests = max(1, one.usage.requests)
    return settlement


def _told(
    one: admission_pb2.CallSettlement, result: ledger_pb2.ReservationReportResult
) -> admission_pb2.CallSettlementResult:
    return admission_pb2.CallSettlementResult(
        call_id=one.call_id,
        error=result.error if result.HasField("error") else None,
        actual=result.actual if result.HasField("actual") else None,
    )


def _quantities(input_tokens: int, output_tokens: int) -> limiter_pb2.Quantities:
    return limiter_pb2.Quantities(
        requests=1,
        tokens=input_tokens + output_tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def _waits(
    request: admission_pb2.CallRequest, wait: limiter_pb2.GrantWait
) -> admission_pb2.CallWait:
    return admission_pb2.CallWait(
        call_id=request.call_id,
        retry_after=wait.retry_after,
        place=wait.place,
        reason=wait.reason,
    )


def _refused(code: str, message: str) -> admission_pb2.AdmitResponse:
    reason = common_pb2.Reason(code=code, message=message)
    return admission_pb2.AdmitResponse(refusal=reason)


def _answer(request: admission_pb2.CallRequest, response: admission_pb2.AdmitResponse) -> Answer:
    if response.HasField("admission"):
        return Answer({"call_admission": response.admission})
    if response.HasField("wait"):
        return Answer({"call_wait": response.wait}, waits=True)
    return Answer({"refusal": pb.Refusal(id=request.call_id, reason=response.refusal)})
