"""The money and the rate of an attempt: held at dispatch, booked when spent, let go at the end."""

import asyncio

from coord.errors import failed_precondition
from coord.times import SECOND, duration, duration_ns
from coord.v1 import common_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.lately import Lately
from coord_coordinator.services import Services
from coord_coordinator.workers import Purse, Worker, WorkerAttempt

_TOTAL_MAX = 2**62
_BATCH_MAX = 1_000
# For how long a task waits whose own budget others still hold.
_REFUSED_NS = 5 * SECOND
# For how long a scope counts as one without a cap, unless the ledger tells of one.
_NO_CAP_NS = 5 * SECOND
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "requests",
)


class Money:
    """Asks the ledger and the limiter on behalf of attempts."""

    def __init__(self, purse: Purse, services: Services) -> None:
        self._project = purse.project
        self._purse = purse
        self._services = services
        self._no_cap: Lately[tuple[ledger_pb2.ScopeKind, str], bool] = Lately(
            services.environment, _NO_CAP_NS
        )
        self._refused: Lately[str, common_pb2.Reason] = Lately(services.environment, _REFUSED_NS)

    async def shortage(
        self, spec: queue_pb2.TaskSpec, worker: str = ""
    ) -> common_pb2.Reason | None:
        """Return why there is not enough money to start a task; None where there is."""
        if refused := self._refused.get(spec.id):
            return refused
        scopes = [
            scope for scope in self._purse.scopes(worker, spec) if not self._has_no_cap(scope, spec)
        ]
        balances = await asyncio.gather(*map(self._balance, scopes))
        wanted = self._wanted(spec, balances)
        for balance in balances:
            if balance.budgets and _left(balance) < max(1, wanted):
                return _budget_spent(balance, wanted)
        return None

    async def reserve(
        self, attempt: WorkerAttempt, worker: str, previous_token: int
    ) -> ledger_pb2.ReservationRefusal | None:
        """Reserve what is left of a task's budget for an attempt; return a refusal, if any.

        Args:
            attempt: The attempt.
            worker: Who has it.
            previous_token: The attempt before it, which may have ended unseen; 0 for none.
        """
        if not attempt.spec.HasField("budget"):
            return None
        if previous_token:
            await self.release([f"{attempt.spec.id}@{previous_token}"])
        refusal = await self._reserve(attempt, worker)
        if refusal is not None and refusal.balance.scope.kind == ledger_pb2.SCOPE_KIND_TASK:
            await self._release_earlier(attempt)
            refusal = await self._reserve(attempt, worker)
            if refusal is not None:
                if refusal.balance.pending.nanos:
                    refusal.reason.message = _held_by_calls(refusal.balance)
                self._refused.note(attempt.spec.id, refusal.reason)
        return refusal

    async def _reserve(
        self, attempt: WorkerAttempt, worker: str
    ) -> ledger_pb2.ReservationRefusal | None:
        scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id=attempt.spec.id)
        balance = await self._cap(scope, attempt.spec.budget)
        # Calls of earlier attempts hold theirs until their outcome is known.
        left = _left(balance) - balance.pending.nanos
        request = ledger_pb2.ReservationRequest(
            reservation_id=attempt.reservation_id,
            scopes=self._purse.scopes(worker, attempt.spec),
            amount=_money(attempt.spec.budget.currency, max(1, left)),
            # What is spent of it is told as it is spent: nothing else is, whenever it expires.
            release_on_expiry=True,
        )
        response = await self._services.insist(
            self._services.ledger.ReserveFunds,
            ledger_pb2.ReserveFundsRequest(project=self._project, requests=[request]),
        )
        result = response.results[0]
        if result.HasField("refusal"):
            return result.refusal
        attempt.budget = result.reservation.amount
        return None

    async def _release_earlier(self, attempt: WorkerAttempt) -> None:
        """Give back what attempts hold whose end, and that of the next one, nobody has seen."""
        request = queue_pb2.GetTaskRequest(project=self._project, task_id=attempt.spec.id)
        task = (await self._services.insist(self._services.queue.GetTask, request)).task
        tokens = [one.fencing_token for one in task.attempts if one.fencing_token < attempt.token]
        if tokens:
            await self.release([f"{attempt.spec.id}@{token}" for token in tokens[-_BATCH_MAX:]])

    async def rate_wait(
        self, grant_id: str, worker: Worker, wait_ns: int = 0
    ) -> common_pb2.Reason | None:
        """Take one request from the worker's buckets; return why that has to wait, if it does.

        Args:
            grant_id: The grant.
            worker: The worker.
            wait_ns: How long to stand in line for it; 0 for not at all.
        """
        request = limiter_pb2.GrantRequest(
            grant_id=grant_id,
            buckets=worker.hello.buckets,
            estimate=limiter_pb2.Quantities(requests=1),
        )
        response = await self._services.insist(
            self._services.limiter.AcquireGrants,
            limiter_pb2.AcquireGrantsRequest(
                project=self._project,
                worker=worker.name,
                requests=[request],
                wait=duration(wait_ns),
            ),
        )
        return _rate_limited(response.results[0])

    async def spend(
        self, worker: Worker, attempt: WorkerAttempt, spent: pb.Spent
    ) -> ledger_pb2.Balance | None:
        """Book a cost; return the balance that says that the attempt must stop, if one does.

        Raises:
            CoordError: FAILED_PRECONDITION, with the reason for which the ledger does not book it.
        """
        cost = ledger_pb2.Cost(
            entry_id=spent.entry_id,
            scopes=self._purse.scopes(worker.name, attempt.spec),
            amount=spent.amount,
            usage=spent.usage,
            reservation_id=attempt.reservation_id if attempt.budget is not None else "",
        )
        result = await self._record(cost)
        if result.error.reason == "RESERVATION_NOT_FOUND":
            # A restart may have found an attempt whose reservation did not come about.
            cost.reservation_id = ""
            result = await self._record(cost)
        if result.HasField("error"):
            raise failed_precondition(result.error.reason, result.error.message)
        attempt.spent.currency = spent.amount.currency
        attempt.spent.nanos = min(attempt.spent.nanos + spent.amount.nanos, _TOTAL_MAX)
        return result.exceeded[0] if result.exceeded else None

    async def _record(self, cost: ledger_pb2.Cost) -> ledger_pb2.RecordCostsResult:
        request = ledger_pb2.RecordCostsRequest(project=self._project, costs=[cost])
        response = await self._services.insist(self._services.ledger.RecordCosts, request)
        return response.results[0]

    async def let_go(self, attempt: WorkerAttempt, worker: str) -> None:
        """Give back what an ended attempt still holds, and settle its rate."""
        if attempt.budget is not None:
            await self.release([attempt.reservation_id])
        if attempt.grant_id:
            await self._settle(attempt, worker)

    async def release(self, reservation_ids: list[str]) -> None:
        """Give back what reservations hold; those that are not there are passed over."""
        request = ledger_pb2.ReleaseReservationsRequest(
            project=self._project, reservation_ids=reservation_ids
        )
        await self._services.insist(self._services.ledger.ReleaseReservations, request)

    async def extend_grants(self, grant_ids: list[str]) -> None:
        """Keep grants whose attempts go on; those that are not known any more are passed over."""
        request = limiter_pb2.ExtendGrantsRequest(project=self._project, grant_ids=grant_ids)
        await self._services.ask(self._services.limiter.ExtendGrants, request)

    async def release_grant(self, grant_id: str) -> None:
        """Give a grant back whose attempt did not come about."""
        request = limiter_pb2.ReleaseGrantsRequest(project=self._project, grant_ids=[grant_id])
        await self._services.insist(self._services.limiter.ReleaseGrants, request)

    async def _settle(self, attempt: WorkerAttempt, worker: str) -> None:
        usage = attempt.usage
        actual = limiter_pb2.Quantities(
            requests=max(1, usage.requests),
            tokens=usage.input_tokens + usage.cache_write_tokens + usage.output_tokens,
            input_tokens=usage.input_tokens + usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        settlement = limiter_pb2.GrantSettlement(grant_id=attempt.grant_id, actual=actual)
        await self._services.insist(
            self._services.limiter.SettleGrants,
            limiter_pb2.SettleGrantsRequest(
                project=self._project, worker=worker, settlements=[settlement]
            ),
        )

    async def _balance(self, scope: ledger_pb2.Scope) -> ledger_pb2.Balance:
        request = ledger_pb2.GetBalanceRequest(project=self._project, scope=scope)
        response = await self._services.insist(self._services.ledger.GetBalance, request)
        if not response.balance.budgets:
            self._no_cap.note((scope.kind, scope.id), True)
        return response.balance

    def note_budget(self, scope: ledger_pb2.Scope) -> None:
        """Note that a scope may have a cap now."""
        self._no_cap.forget((scope.kind, scope.id))

    def _has_no_cap(self, scope: ledger_pb2.Scope, spec: queue_pb2.TaskSpec) -> bool:
        """Tell whether a scope had no cap lately, and has got none since.

        What a task without a budget spends is held against a cap of its own by each cost.
        """
        if scope.kind == ledger_pb2.SCOPE_KIND_TASK:
            return not spec.HasField("budget")
        return self._no_cap.get((scope.kind, scope.id)) is not None

    async def _cap(self, scope: ledger_pb2.Scope, cap: common_pb2.Money) -> ledger_pb2.Balance:
        balance = await self._balance(scope)
        if balance.HasField("cap"):
            return balance
        request = ledger_pb2.SetBudgetRequest(project=self._project, scope=scope, cap=cap)
        response = await self._services.insist(self._services.ledger.SetBudget, request)
        return response.balance

    def _wanted(self, spec: queue_pb2.TaskSpec, balances: list[ledger_pb2.Balance]) -> int:
        of_task = (one for one in balances if one.scope.kind == ledger_pb2.SCOPE_KIND_TASK)
        task = next(of_task, ledger_pb2.Balance())
        return max(0, _left(task)) if task.budgets else spec.budget.nanos


def _left(balance: ledger_pb2.Balance) -> int:
    """Return what may still be reserved below the tightest cap.

    What is pending for a task that waits belongs to attempts that have ended, and is about to be
    given back.
    """
    below = min(one.cap.nanos - one.posted.nanos for one in balance.budgets)
    of_task = balance.scope.kind == ledger_pb2.SCOPE_KIND_TASK
    return below if of_task else below - balance.pending.nanos


def add_usage(total: common_pb2.Usage, part: common_pb2.Usage) -> None:
    """Add what was used since the last report."""
    total.model = part.model or total.model
    for field in _COUNTS:
        setattr(total, field, min(getattr(total, field) + getattr(part, field), _TOTAL_MAX))


def _money(currency: str, nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency=currency, nanos=nanos)


def _budget_spent(balance: ledger_pb2.Balance, wanted: int) -> common_pb2.Reason:
    kind = ledger_pb2.ScopeKind.Name(balance.scope.kind).removeprefix("SCOPE_KIND_").lower()
    tightest = min(balance.budgets, key=lambda one: one.cap.nanos - one.posted.nanos)
    cap, currency = tightest.cap.nanos / 1e9, tightest.cap.currency
    if kind == "task":
        code = "TASK_BUDGET_SPENT"
        message = f"{tightest.posted.nanos / 1e9:.2f} {currency} of its {cap:.2f} are spent"
    else:
        code = "BUDGET_SPENT"
        message = (
            f"the budget of {kind} {balance.scope.id} has {_left(balance) / 1e9:.2f} {currency}"
            f" left of {cap:.2f} ({balance.pending.nanos / 1e9:.2f} reserved); the task needs"
            f" {wanted / 1e9:.2f}"
        )
    return common_pb2.Reason(
        code=code, message=message, metadata={"scope": f"{kind}/{balance.scope.id}"}
    )


def _held_by_calls(balance: ledger_pb2.Balance) -> str:
    return (
        f"calls of earlier attempts hold {balance.pending.nanos / 1e9:.2f}"
        f" {balance.pending.currency} of its budget: nothing was told of them, and they are booked"
        " at their estimates ten minutes after they began"
    )


def _rate_limited(result: limiter_pb2.GrantResult) -> common_pb2.Reason | None:
    if result.HasField("wait"):
        seconds = duration_ns(result.wait.retry_after) / SECOND
        return common_pb2.Reason(
            code="RATE_LIMITED",
            message=f"waits {seconds:.1f} s: {result.wait.reason.message}",
            metadata={"seconds": f"{seconds:.3f}"},
        )
    if result.HasField("refusal"):
        message = f"never fits: {result.refusal.reason.message}"
        return common_pb2.Reason(code="RATE_LIMITED", message=message)
    return None
