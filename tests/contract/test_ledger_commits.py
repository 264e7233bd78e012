"""The ledger's memory and its disk: commits that are shared, and refused; caps taken away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from coord.client import connect
from coord.times import SECOND, duration
from coord.v1 import ledger_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord_ledger.service import LedgerService
from coord_runtime.tokens import Kind, Principal

from tests.contract.test_ledger_service import CENT, DOLLAR, RUN, TASK, Ledger, refused, usd
from tests.serving import PROJECT, Clock, served

DAY = ledger_pb2.BUDGET_WINDOW_DAY
ACCOUNT = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_ACCOUNT, id="key")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncIterator[Ledger]:
    async with served(LedgerService, tmp_path, "in process", clock) as running:
        yield Ledger(running)


@contextmanager
def a_disk_that_refuses(folder: Path) -> Iterator[None]:
    """Let no commit of the ledger succeed that changes a scope."""
    sql = sqlite3.connect(folder / "ledger" / "ledger.db", isolation_level=None)
    sql.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON scopes BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    yield
    sql.execute("DROP TRIGGER refuse")
    sql.close()


async def test_what_the_disk_refuses_has_not_happened(
    ledger: Ledger, tmp_path: Path, clock: Clock
) -> None:
    await ledger.cap(RUN, DOLLAR, window=DAY)
    await ledger.reserve("held", 40 * CENT)
    await ledger.reserve("soon", 10 * CENT, ttl=duration(SECOND))
    with a_disk_that_refuses(tmp_path):
        calls = (
            ledger.reserve("lost", 50 * CENT, RUN, TASK),
            ledger.settle("held", 40 * CENT),
            ledger.record("cost", 30 * CENT),
            ledger.release("soon"),
            ledger.cap(RUN, 2 * DOLLAR),
        )
        refusals = await asyncio.gather(*map(refused, calls))
        assert set(refusals) == {("UNAVAILABLE", "STORE_FAILED")}
    assert await ledger.money() == (0, 50 * CENT)
    assert (await ledger.reserve("more", 51 * CENT)).refusal.available == usd(50 * CENT)
    assert (await ledger.reserve("lost", 20 * CENT)).HasField("reservation")
    assert await ledger.settle("held", 30 * CENT) == ""
    clock.pass_ns(SECOND)
    await ledger.expire()
    assert await ledger.entries() == [30 * CENT, 10 * CENT]
    assert await ledger.money() == (40 * CENT, 20 * CENT)
    assert await ledger.events() == ["budget_set", "cost_posted", "cost_posted"]


async def gathered(*calls: Any) -> list[Any]:
    """Make calls at once; return their answers."""
    return await asyncio.gather(*calls)


async def test_calls_that_share_a_commit_see_each_other(ledger: Ledger) -> None:
    calls = (
        ledger.reserve("a", 40 * CENT),
        ledger.record("e", 20 * CENT),
        ledger.settle("a", 30 * CENT),
        ledger.record("e", 20 * CENT),
        ledger.cap(RUN, DOLLAR, window=DAY),
        ledger.reserve("b", 51 * CENT),
        ledger.settle("a", 30 * CENT),
    )
    *_, budget, more, again = await gathered(*calls)
    assert budget.budgets[0].posted == usd(50 * CENT)
    assert more.refusal.available == usd(50 * CENT)
    assert again == ""
    assert await ledger.entries() == [20 * CENT, 30 * CENT]


async def uncap(ledger: Ledger, scope: ledger_pb2.Scope, **more: Any) -> ledger_pb2.Balance:
    request = ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, remove=True, **more)
    return (await ledger.stub.SetBudget(request)).balance


async def capped(ledger: Ledger, page_size: int = 0) -> list[ledger_pb2.Scope]:
    request = ledger_pb2.ListBudgetsRequest(project=PROJECT, page_size=page_size)
    found: list[ledger_pb2.Scope] = []
    while True:
        page = await ledger.stub.ListBudgets(request)
        found += [balance.scope for balance in page.balances]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def test_a_cap_is_taken_away_for_good(tmp_path: Path) -> None:
    async with served(LedgerService, tmp_path, "in process") as running:
        ledger = Ledger(running)
        await ledger.cap(RUN, DOLLAR)
        await ledger.cap(RUN, 2 * DOLLAR, window=DAY)
        assert (await ledger.reserve("a", 3 * DOLLAR)).HasField("refusal")
        assert [one.window for one in (await uncap(ledger, RUN)).budgets] == [DAY]
        assert (await ledger.reserve("a", 2 * DOLLAR)).HasField("reservation")
        assert not (await uncap(ledger, RUN, window=DAY)).budgets
        assert (await uncap(ledger, TASK)).scope == TASK
        assert await ledger.events() == ["budget_set"] * 4
    async with served(LedgerService, tmp_path, "in process") as running:
        again = Ledger(running)
        assert (await again.reserve("b", 9 * DOLLAR)).HasField("reservation")


async def test_a_cap_taken_away_and_set_anew_in_one_commit_holds(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    await asyncio.gather(uncap(ledger, RUN), ledger.cap(RUN, 3 * DOLLAR))
    assert (await ledger.reserve("a", 4 * DOLLAR)).refusal.available == usd(3 * DOLLAR)
    await asyncio.gather(ledger.cap(RUN, DOLLAR), uncap(ledger, RUN))
    request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=RUN)
    assert not (await ledger.stub.GetBalance(request)).balance.budgets


async def test_who_takes_a_cap_away_sets_none(ledger: Ledger) -> None:
    for wrong in ({"cap": usd(1)}, {"warn_at": 0.5}, {"thresholds": [0.5]}):
        assert await refused(uncap(ledger, RUN, **wrong)) == ("INVALID_ARGUMENT", "INVALID_FIELD")


async def test_all_that_has_a_cap_is_listed(ledger: Ledger) -> None:
    await ledger.record("e", CENT)
    for scope in (TASK, ACCOUNT, RUN):
        await ledger.cap(scope, DOLLAR)
    for page_size in (1, 2, 0):
        assert await capped(ledger, page_size) == [ACCOUNT, RUN, TASK]
    await uncap(ledger, RUN)
    assert await capped(ledger) == [ACCOUNT, TASK]
    wrong = ledger_pb2.ListBudgetsRequest(project=PROJECT, page_token="x")
    assert (await refused(ledger.stub.ListBudgets(wrong)))[1] == "INVALID_FIELD"


async def test_all_projects_are_told_of_the_caps_of_an_account(tmp_path: Path) -> None:
    async with served(LedgerService, tmp_path, "grpc") as running:
        mine = Ledger(running)
        token = running.node.mint.mint(Principal(Kind.SERVICE, "coordinator", "q"))
        async with connect(running.node.address, token) as channel:
            theirs: Any = LedgerServiceStub(channel)
            cost = ledger_pb2.Cost(entry_id="e", scopes=[ACCOUNT, RUN], amount=usd(CENT))
            await theirs.RecordCosts(ledger_pb2.RecordCostsRequest(project="q", costs=[cost]))
            await mine.cap(ACCOUNT, DOLLAR)
            await mine.record("e", DOLLAR, scopes=[ACCOUNT, RUN])
            watch = theirs.WatchLedgerEvents(ledger_pb2.WatchLedgerEventsRequest(project="q"))
            kinds: list[str] = []
            async with asyncio.timeout(60):
                async for response in watch:
                    kinds += [event.WhichOneof("kind") for event in response.events]
                    if "budget_exceeded" in kinds:
                        break
    assert kinds == ["cost_posted", "budget_set", "budget_warned", "budget_exceeded"]
