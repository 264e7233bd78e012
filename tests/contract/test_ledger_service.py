"""What the ledger answers, over gRPC and in process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import from_rpc
from coord.times import SECOND, duration, timestamp_ns
from coord.v1 import common_pb2, ledger_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord_ledger.service import LedgerService
from coord_runtime.tokens import Kind

from tests.serving import PROJECT, WAYS, Clock, Served, served

CENT = 10**7
DOLLAR = 100 * CENT
RUN = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")
TASK = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="t")


def usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)


class Ledger:
    """The ledger, as tests talk to it."""

    def __init__(self, running: Served) -> None:
        self.running = running
        self.stub = LedgerServiceStub(running.channel())

    async def cap(self, scope: ledger_pb2.Scope, nanos: int, **more: Any) -> ledger_pb2.Balance:
        request = ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, cap=usd(nanos), **more)
        return (await self.stub.SetBudget(request)).balance

    async def reserve(
        self, name: str, nanos: int, *scopes: ledger_pb2.Scope, **more: Any
    ) -> ledger_pb2.ReservationResult:
        request = ledger_pb2.ReservationRequest(
            reservation_id=name, scopes=scopes or [RUN], amount=usd(nanos), **more
        )
        response = await self.stub.ReserveFunds(
            ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[request])
        )
        return response.results[0]

    async def record(
        self, name: str, nanos: int, reservation: str = "", **more: Any
    ) -> ledger_pb2.RecordCostsResult:
        more.setdefault("amount", usd(nanos))
        more.setdefault("scopes", [] if reservation else [RUN])
        cost = ledger_pb2.Cost(entry_id=name, reservation_id=reservation, **more)
        response = await self.stub.RecordCosts(
            ledger_pb2.RecordCostsRequest(project=PROJECT, costs=[cost])
        )
        return response.results[0]

    async def settle(self, name: str, nanos: int) -> str:
        settlement = ledger_pb2.Settlement(reservation_id=name, actual=usd(nanos))
        response = await self.stub.SettleReservations(
            ledger_pb2.SettleReservationsRequest(project=PROJECT, settlements=[settlement])
        )
        return response.results[0].error.reason

    async def release(self, name: str) -> str:
        response = await self.stub.ReleaseReservations(
            ledger_pb2.ReleaseReservationsRequest(project=PROJECT, reservation_ids=[name])
        )
        return response.results[0].error.reason

    async def money(self, scope: ledger_pb2.Scope = RUN) -> tuple[int, int]:
        """Posted and pending."""
        request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
        balance = (await self.stub.GetBalance(request)).balance
        return balance.posted.nanos, balance.pending.nanos

    async def entries(self, scope: ledger_pb2.Scope = RUN, **more: Any) -> list[int]:
        request = ledger_pb2.ListEntriesRequest(project=PROJECT, scope=scope, **more)
        return [entry.amount.nanos for entry in (await self.stub.ListEntries(request)).entries]

    async def expire(self) -> None:
        (service,) = self.running.node._services
        assert isinstance(service, LedgerService)
        await service.expire_reservations()

    async def events(self) -> list[str]:
        """The kinds of the events so far, up to one that is made here to mark the end."""
        end = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_WORKER, id="end")
        await self.cap(end, DOLLAR)
        kinds: list[str] = []
        watch = self.stub.WatchLedgerEvents(ledger_pb2.WatchLedgerEventsRequest(project=PROJECT))
        async for response in watch:
            for event in response.events:
                if event.budget_set.balance.scope == end:
                    watch.cancel()
                    return kinds
                kinds.append(event.WhichOneof("kind"))
        return kinds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=WAYS)
async def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Ledger]:
    async with served(LedgerService, tmp_path, request.param, clock) as running:
        yield Ledger(running)


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc(caught.value)
    return error.code.name, error.reason


async def test_a_reservation_is_settled_once_with_its_total(ledger: Ledger) -> None:
    result = await ledger.reserve("a", DOLLAR, RUN, TASK)
    assert result.reservation.amount == usd(DOLLAR)
    await ledger.record("e", 30 * CENT, "a")
    assert await ledger.money(TASK) == (30 * CENT, 70 * CENT)
    assert await ledger.settle("a", 40 * CENT) == ""
    assert await ledger.settle("a", 40 * CENT) == ""
    assert await ledger.settle("a", 41 * CENT) == "RESERVATION_ENDED"
    assert await ledger.release("a") == "RESERVATION_ENDED"
    assert await ledger.money(RUN) == await ledger.money(TASK) == (40 * CENT, 0)
    assert await ledger.entries(RUN) == await ledger.entries(TASK) == [30 * CENT, 10 * CENT]


async def test_release_gives_back_the_rest(ledger: Ledger) -> None:
    await ledger.reserve("a", DOLLAR)
    await ledger.record("e", 30 * CENT, "a")
    assert await ledger.release("a") == ""
    assert await ledger.release("a") == ""
    assert await ledger.settle("a", 30 * CENT) == "RESERVATION_ENDED"
    assert await ledger.money() == (30 * CENT, 0)


async def test_a_cost_that_comes_after_the_end_is_posted_and_draws_nothing(ledger: Ledger) -> None:
    for name, end in (("a", ledger.settle("a", CENT)), ("b", ledger.release("b"))):
        await ledger.reserve(name, DOLLAR)
        assert await end == ""
        assert not (await ledger.record(f"late-{name}", 2 * CENT, name)).HasField("error")
    assert await ledger.money() == (5 * CENT, 0)


async def test_refusal_names_the_cap_and_what_would_fit(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    await ledger.cap(TASK, 50 * CENT)
    await ledger.record("e", 20 * CENT, scopes=[TASK])
    refusal = (await ledger.reserve("a", 40 * CENT, RUN, TASK)).refusal
    assert refusal.reason.code == "CAP_REACHED"
    assert refusal.balance.scope == TASK
    assert refusal.balance.cap == usd(50 * CENT)
    assert refusal.available == usd(30 * CENT)
    assert await ledger.money(RUN) == (0, 0)


async def test_up_to_reserves_what_fits(ledger: Ledger) -> None:
    await ledger.cap(RUN, 30 * CENT)
    too_little = await ledger.reserve("a", DOLLAR, min_amount=usd(31 * CENT))
    assert too_little.refusal.available == usd(30 * CENT)
    assert (await ledger.reserve("b", DOLLAR, min_amount=usd(1))).reservation.amount == usd(
        30 * CENT
    )
    assert (await ledger.reserve("c", 1)).refusal.available == usd(0)


async def test_a_repeated_request_gets_the_same_reservation(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    first = await ledger.reserve("a", DOLLAR, RUN, TASK)
    assert await ledger.reserve("a", DOLLAR, TASK, RUN) == first
    assert (await ledger.reserve("a", CENT, RUN, TASK)).error.reason == "RESERVATION_EXISTS"
    await ledger.release("a")
    assert (await ledger.reserve("a", DOLLAR, RUN, TASK)).error.reason == "RESERVATION_ENDED"
    assert await ledger.money() == (0, 0)


async def test_a_cost_is_posted_once(ledger: Ledger) -> None:
    await ledger.record("e", CENT)
    assert not (await ledger.record("e", CENT)).HasField("error")
    assert (await ledger.record("e", 2 * CENT)).error.reason == "ENTRY_EXISTS"
    assert (await ledger.record("e", CENT, scopes=[TASK])).error.reason == "ENTRY_EXISTS"
    assert (await ledger.record("f", CENT, "none")).error.reason == "RESERVATION_NOT_FOUND"
    assert await ledger.entries() == [CENT]


async def test_the_truth_is_recorded_above_the_cap_and_further_reserves_are_refused(
    ledger: Ledger,
) -> None:
    await ledger.cap(RUN, DOLLAR)
    await ledger.reserve("a", DOLLAR)
    result = await ledger.record("e", 3 * DOLLAR, "a")
    assert [balance.scope for balance in result.exceeded] == [RUN]
    assert await ledger.money() == (3 * DOLLAR, 0)
    assert (await ledger.reserve("b", 1)).HasField("refusal")


async def test_who_has_spent_a_reservation_is_told_before_the_cap_is_reached(
    ledger: Ledger,
) -> None:
    await ledger.cap(RUN, 5 * DOLLAR)
    await ledger.reserve("a", DOLLAR, RUN, TASK)
    await ledger.reserve("b", 4 * DOLLAR, RUN)
    assert not (await ledger.record("e", DOLLAR - 1, "a")).exceeded
    exceeded = (await ledger.record("f", 1, "a")).exceeded
    assert [balance.scope for balance in exceeded] == [RUN, TASK]
    assert await ledger.money() == (DOLLAR, 4 * DOLLAR)


async def test_an_expired_reservation_is_posted_and_a_late_settlement_corrects_it(
    ledger: Ledger, clock: Clock
) -> None:
    result = await ledger.reserve("a", DOLLAR, ttl=duration(60 * SECOND))
    assert timestamp_ns(result.reservation.expires_at) == clock.wall_ns + 60 * SECOND
    await ledger.record("e", 30 * CENT, "a")
    clock.pass_ns(60 * SECOND - 1)
    await ledger.expire()
    assert await ledger.money() == (30 * CENT, 70 * CENT)
    clock.pass_ns(1)
    await ledger.expire()
    assert await ledger.money() == (DOLLAR, 0)
    assert await ledger.settle("a", 45 * CENT) == ""
    assert await ledger.settle("a", 45 * CENT) == ""
    assert await ledger.release("a") == "RESERVATION_ENDED"
    assert await ledger.entries() == [30 * CENT, 70 * CENT, -55 * CENT]


async def test_what_was_posted_of_an_expired_reservation_is_given_back_once_with_its_release(
    ledger: Ledger, clock: Clock
) -> None:
    await ledger.reserve("a", DOLLAR, ttl=duration(60 * SECOND))
    await ledger.record("e", 30 * CENT, "a")
    clock.pass_ns(60 * SECOND)
    await ledger.expire()
    await ledger.record("f", 5 * CENT, "a")
    for _ in range(2):
        assert await ledger.release("a") == ""
        assert await ledger.money() == (35 * CENT, 0)
    assert await ledger.settle("a", 45 * CENT) == "RESERVATION_ENDED"
    assert await ledger.entries() == [30 * CENT, 70 * CENT, 5 * CENT, -70 * CENT]


async def test_what_is_told_as_it_is_spent_is_not_posted_when_its_reservation_expires(
    ledger: Ledger, clock: Clock
) -> None:
    await ledger.reserve("a", DOLLAR, ttl=duration(60 * SECOND), release_on_expiry=True)
    await ledger.record("e", 30 * CENT, "a")
    clock.pass_ns(60 * SECOND)
    await ledger.expire()
    assert await ledger.money() == (30 * CENT, 0)
    assert await ledger.release("a") == ""
    assert await ledger.entries() == [30 * CENT]


async def test_warned_and_exceeded_are_told_once_for_each_cap(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    await ledger.cap(RUN, DOLLAR)
    await ledger.record("a", 79 * CENT)
    await ledger.record("b", CENT)
    await ledger.record("c", 20 * CENT)
    await ledger.record("d", 20 * CENT)
    once = ["budget_set", *["cost_posted"] * 2, "budget_warned", "cost_posted", "budget_exceeded"]
    await ledger.cap(RUN, 2 * DOLLAR, warn_at=0.6)
    await ledger.cap(RUN, DOLLAR)
    again = ["budget_set", "budget_warned", "budget_set", "budget_warned", "budget_exceeded"]
    assert await ledger.events() == [*once, "cost_posted", *again]


async def test_a_thousand_at_once_never_pass_the_cap(ledger: Ledger) -> None:
    await ledger.cap(RUN, 5 * DOLLAR)
    results = await asyncio.gather(*(ledger.reserve(f"r{i}", 10 * CENT) for i in range(1_000)))
    assert sum(result.HasField("reservation") for result in results) == 50
    assert await ledger.money() == (0, 5 * DOLLAR)


async def test_currencies_are_never_added(ledger: Ledger) -> None:
    euro = common_pb2.Money(currency="EUR", nanos=CENT)
    await ledger.reserve("a", CENT)
    other = ledger_pb2.ReservationRequest(reservation_id="b", scopes=[TASK, RUN], amount=euro)
    reserve = ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[other])
    result = (await ledger.stub.ReserveFunds(reserve)).results[0]
    assert result.error.reason == "CURRENCY_DIFFERS"
    assert (await ledger.record("e", 0, amount=euro)).error.reason == "CURRENCY_DIFFERS"
    assert (await ledger.record("e", 0, "a", amount=euro)).error.reason == "CURRENCY_DIFFERS"
    budget = ledger_pb2.SetBudgetRequest(project=PROJECT, scope=RUN, cap=euro)
    assert await refused(ledger.stub.SetBudget(budget)) == (
        "FAILED_PRECONDITION",
        "CURRENCY_DIFFERS",
    )
    assert await ledger.money() == (0, CENT)
    assert await ledger.money(TASK) == (0, 0)


async def test_amounts_that_outgrow_64_bits_are_refused(ledger: Ledger) -> None:
    most = 2**62
    assert (await ledger.reserve("a", most)).HasField("reservation")
    assert (await ledger.reserve("b", most)).error.reason == "AMOUNT_OVERFLOW"
    assert (await ledger.record("e", most)).error.reason == "AMOUNT_OVERFLOW"
    assert not (await ledger.record("f", most, "a")).HasField("error")
    assert (await ledger.record("g", most)).error.reason == "AMOUNT_OVERFLOW"
    assert await ledger.money() == (most, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": usd(-1)},
        {"amount": usd(2**62 + 1)},
        {"amount": common_pb2.Money(currency="usd", nanos=1)},
        {"entry_id": "no blanks"},
        {"scopes": []},
        {"scopes": [RUN, RUN]},
        {"scopes": [ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id="other")]},
        {"scopes": [ledger_pb2.Scope(id="r")]},
    ],
)
async def test_one_malformed_cost_refuses_the_batch(ledger: Ledger, change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"entry_id": "a", "scopes": [RUN], "amount": usd(1)}
    costs = [ledger_pb2.Cost(**good), ledger_pb2.Cost(**(good | {"entry_id": "b"} | change))]
    request = ledger_pb2.RecordCostsRequest(project=PROJECT, costs=costs)
    code, reason = await refused(ledger.stub.RecordCosts(request))
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert await ledger.money() == (0, 0)


async def test_entries_list_in_pages(ledger: Ledger) -> None:
    for i in range(5):
        await ledger.record(f"e{i}", i)
    request = ledger_pb2.ListEntriesRequest(project=PROJECT, scope=RUN, page_size=2)
    seen: list[str] = []
    while True:
        response = await ledger.stub.ListEntries(request)
        seen += [entry.entry_id for entry in response.entries]
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert seen == [f"e{i}" for i in range(5)]


async def test_a_repeated_set_budget_gets_the_first_answer(ledger: Ledger) -> None:
    first = await ledger.cap(RUN, DOLLAR, request_id="once")
    await ledger.record("e", CENT)
    assert await ledger.cap(RUN, DOLLAR, request_id="once") == first


async def test_a_worker_may_only_read(ledger: Ledger) -> None:
    stub = LedgerServiceStub(ledger.running.channel(Kind.WORKER, "w1"))
    balance = await stub.GetBalance(ledger_pb2.GetBalanceRequest(project=PROJECT, scope=RUN))
    assert balance.balance.posted.nanos == 0
    assert not (await stub.ListBudgets(ledger_pb2.ListBudgetsRequest(project=PROJECT))).balances
    request = ledger_pb2.RecordCostsRequest(project=PROJECT)
    assert await refused(stub.RecordCosts(request)) == ("PERMISSION_DENIED", "NOT_FOR_WORKERS")
