"""What the ledger does beside reserving: prices, windows, thresholds, nesting, accounts."""

import re
import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from coord.client import TokenChannel, connect
from coord.times import SECOND, duration, timestamp, timestamp_ns
from coord.v1 import common_pb2, ledger_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord_ledger.pages import MIGRATIONS
from coord_ledger.service import LedgerService
from coord_runtime.migrations import migrate
from coord_runtime.tokens import Kind, Principal
from prometheus_client import generate_latest

from tests.contract.test_ledger_service import CENT, DOLLAR, RUN, TASK, Ledger, refused, usd
from tests.serving import PROJECT, Clock, Served, served

DAY, MONTH, TOTAL = (
    ledger_pb2.BUDGET_WINDOW_DAY,
    ledger_pb2.BUDGET_WINDOW_MONTH,
    ledger_pb2.BUDGET_WINDOW_TOTAL,
)
ACCOUNT = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_ACCOUNT, id="key")
# The 15th of January 2027, 8 o'clock, is what tests' clocks begin with.
DAY_NS = 24 * 3600 * SECOND
_PRICES = """
[[prices]]
model = "local/*"
input = 1
output = 10
cache_read = 0.1

[[prices]]
model = "local/*"
input = 2
output = 20
since = 2027-01-16
"""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncIterator[Ledger]:
    prices = tmp_path / "prices.toml"
    prices.write_text(_PRICES)
    flags = {"ledger": {"prices": str(prices)}}
    async with served(LedgerService, tmp_path / "s", "in process", clock, flags) as running:
        yield Ledger(running)


async def estimate(ledger: Ledger, at_ns: int = 0, **usage: Any) -> ledger_pb2.EstimateCostResponse:
    request = ledger_pb2.EstimateCostRequest(
        project=PROJECT,
        usage=common_pb2.Usage(**usage),
        at=timestamp(at_ns) if at_ns else None,
    )
    return await ledger.stub.EstimateCost(request)


async def reserve(ledger: Ledger, name: str, **more: Any) -> ledger_pb2.ReservationResult:
    request = ledger_pb2.ReservationRequest(reservation_id=name, **more)
    reserving = ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[request])
    return (await ledger.stub.ReserveFunds(reserving)).results[0]


def used(output: int, model: str = "local/llama", **more: int) -> common_pb2.Usage:
    return common_pb2.Usage(model=model, output_tokens=output, **more)


async def test_a_call_is_priced_by_the_list_of_its_day(ledger: Ledger) -> None:
    cached = {"input_tokens": 1_000, "cache_read_tokens": 2_000, "cache_write_tokens": 3_000}
    found = await estimate(ledger, model="claude-sonnet-4-5", output_tokens=100, **cached)
    dollars = Decimal(3_000 + 600 + 3_000 * 3.75 + 1_500) / 10**6
    assert found.amount == usd(int(dollars * 10**9))
    assert (found.model, found.source) == ("claude-sonnet-4-5", "anthropic")


async def test_the_operators_own_prices_come_first_and_begin_on_their_day(
    ledger: Ledger, clock: Clock
) -> None:
    found = await estimate(ledger, model="local/llama", output_tokens=1_000, cache_read_tokens=1)
    assert found.amount.nanos == CENT + 100
    assert found.source == "override"
    later = await estimate(
        ledger, clock.wall_ns + DAY_NS, model="local/llama", output_tokens=1_000, input_tokens=1
    )
    assert later.amount.nanos == 2 * CENT + 2_000


async def test_a_cost_is_rounded_up_to_a_whole_nano(ledger: Ledger) -> None:
    assert (await estimate(ledger, model="gpt-4o", input_tokens=1)).amount.nanos == 2_500
    assert (await estimate(ledger, model="local/x", cache_read_tokens=1)).amount.nanos == 100


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        ({"model": "no-such-model", "input_tokens": 1}, "UNKNOWN_MODEL"),
        ({"model": "", "input_tokens": 1}, "INVALID_FIELD"),
        ({"model": "local/x", "input_tokens": -1}, "INVALID_FIELD"),
        ({"model": "local/x", "output_tokens": 10**12 + 1}, "INVALID_FIELD"),
        # An embedding has no price for output.
        ({"model": "text-embedding-3-small", "output_tokens": 1}, "UNKNOWN_MODEL"),
    ],
)
async def test_what_has_no_price_is_an_error_and_never_free(
    ledger: Ledger, usage: dict[str, Any], reason: str
) -> None:
    assert await refused(estimate(ledger, **usage)) == ("INVALID_ARGUMENT", reason)


@pytest.mark.parametrize("text", ["[[prices]]\nmodel = 'x'", "prices = 7", "]", None])
async def test_a_file_of_prices_that_makes_no_sense_stops_the_start(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "prices.toml").write_text(text)
    flags = {"ledger": {"prices": str(tmp_path / "prices.toml")}}
    with pytest.raises(Exception, match=r"prices\.toml"):
        async with served(LedgerService, tmp_path / "s", "in process", flags=flags):
            pass


async def test_a_reservation_by_usage_says_how_many_tokens_it_pays_for(ledger: Ledger) -> None:
    await ledger.cap(RUN, 5 * CENT)
    whole = await reserve(ledger, "a", scopes=[RUN], usage=used(1_000))
    assert whole.reservation.amount == usd(CENT)
    assert whole.reservation.max_output_tokens == 1_000
    refusal = (await reserve(ledger, "b", scopes=[RUN], usage=used(9_000))).refusal
    assert (refusal.available.nanos, refusal.available_output_tokens) == (4 * CENT, 4_000)
    asked = {"scopes": [RUN], "usage": used(9_000), "min_output_tokens": 4_000}
    part = await reserve(ledger, "c", **asked)
    assert part.reservation.max_output_tokens == 4_000
    assert await reserve(ledger, "c", **asked) == part
    assert await ledger.money() == (0, 5 * CENT)
    unknown = await reserve(ledger, "d", scopes=[RUN], usage=used(1, "no-such-model"))
    assert unknown.error.reason == "UNKNOWN_MODEL"


async def test_a_settlement_by_usage_is_priced_and_told(ledger: Ledger) -> None:
    await ledger.reserve("a", DOLLAR)
    await ledger.reserve("b", DOLLAR)
    settlements = [
        ledger_pb2.Settlement(reservation_id="b", usage=used(1, "no-such-model")),
        ledger_pb2.Settlement(reservation_id="a", usage=used(3_000)),
    ]
    request = ledger_pb2.SettleReservationsRequest(project=PROJECT, settlements=settlements)
    for _ in range(2):
        unknown, settled = (await ledger.stub.SettleReservations(request)).results
        assert (unknown.reservation_id, unknown.error.reason) == ("b", "UNKNOWN_MODEL")
        assert settled.actual == usd(3 * CENT)
    assert await ledger.money() == (3 * CENT, DOLLAR)


async def test_a_check_reserves_nothing(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    one = ledger_pb2.ReservationRequest(reservation_id="a", scopes=[RUN], amount=usd(DOLLAR))
    request = ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[one], check_only=True)
    for _ in range(2):
        assert (await ledger.stub.ReserveFunds(request)).results[0].HasField("reservation")
    one.amount.nanos += 1
    request.requests[0].CopyFrom(one)
    assert (await ledger.stub.ReserveFunds(request)).results[0].HasField("refusal")
    assert await ledger.money() == (0, 0)


async def test_a_cap_for_a_day_begins_anew_at_midnight(ledger: Ledger, clock: Clock) -> None:
    await ledger.record("before", 30 * CENT)
    clock.pass_ns(DAY_NS)
    await ledger.record("today", 20 * CENT)
    balance = await ledger.cap(RUN, DOLLAR, window=DAY)
    assert balance.budgets[0].posted == usd(20 * CENT)
    assert not balance.HasField("cap")
    refusal = (await ledger.reserve("a", 81 * CENT)).refusal
    assert refusal.available == usd(80 * CENT)
    assert refusal.reason.metadata["window"] == "BUDGET_WINDOW_DAY"
    await ledger.reserve("b", 50 * CENT)
    clock.pass_ns(DAY_NS)
    # What is pending may still be spent today.
    assert (await ledger.reserve("c", 51 * CENT)).refusal.available == usd(50 * CENT)
    assert (await ledger.reserve("d", 50 * CENT)).HasField("reservation")


async def test_of_several_caps_the_tightest_holds(ledger: Ledger, clock: Clock) -> None:
    for window, dollars in ((TOTAL, 4), (MONTH, 3), (DAY, 2)):
        await ledger.cap(RUN, dollars * DOLLAR, window=window)
    for day, fits in enumerate((2, 1, 0)):
        if fits:
            assert (await ledger.reserve(f"no-{day}", fits * DOLLAR + 1)).HasField("refusal")
            await ledger.record(f"e{day}", fits * DOLLAR)
        assert (await ledger.reserve(f"none-{day}", 1)).HasField("refusal")
        clock.pass_ns(DAY_NS)
    clock.pass_ns(31 * DAY_NS)
    assert (await ledger.reserve("a", DOLLAR + 1)).refusal.available == usd(DOLLAR)


async def test_each_threshold_is_told_once_for_each_window(ledger: Ledger, clock: Clock) -> None:
    await ledger.cap(RUN, DOLLAR, window=DAY, thresholds=[0.9, 0.5])
    for day in range(2):
        for part in range(3):
            await ledger.record(f"e{day}-{part}", 60 * CENT)
        clock.pass_ns(DAY_NS)
    told = [kind for kind in await ledger.events() if kind != "cost_posted"]
    assert told == ["budget_set", *["budget_warned", "budget_warned", "budget_exceeded"] * 2]


async def test_a_reservation_within_another_promises_nothing_more(ledger: Ledger) -> None:
    await ledger.cap(RUN, DOLLAR)
    await ledger.reserve("outer", DOLLAR, RUN, TASK)
    inner = await reserve(ledger, "inner", within="outer", amount=usd(60 * CENT))
    assert inner.HasField("reservation")
    assert await ledger.money(TASK) == (0, DOLLAR)
    refusal = (await reserve(ledger, "more", within="outer", amount=usd(41 * CENT))).refusal
    assert (refusal.reason.code, refusal.available) == ("WITHIN_SPENT", usd(40 * CENT))
    assert await ledger.settle("inner", 10 * CENT) == ""
    assert await ledger.money(TASK) == (10 * CENT, 90 * CENT)
    assert (await reserve(ledger, "all", within="outer", amount=usd(90 * CENT))).HasField(
        "reservation"
    )
    # The truth is taken from the outer one, as far as that goes, and then passes the cap.
    assert await ledger.settle("all", 95 * CENT) == ""
    assert await ledger.release("outer") == ""
    assert await ledger.money(RUN) == (105 * CENT, 0)


async def test_an_inner_reservation_outlives_the_outer_one(ledger: Ledger) -> None:
    await ledger.reserve("outer", DOLLAR)
    await reserve(ledger, "inner", within="outer", amount=usd(60 * CENT))
    await ledger.release("outer")
    assert await ledger.money() == (0, 60 * CENT)
    late = await reserve(ledger, "late", within="outer", amount=usd(CENT))
    assert late.error.reason == "WITHIN_ENDED"
    assert await ledger.settle("inner", 20 * CENT) == ""
    assert await ledger.money() == (20 * CENT, 0)


async def test_one_level_of_nesting_is_enough(ledger: Ledger) -> None:
    await ledger.reserve("outer", DOLLAR)
    await reserve(ledger, "inner", within="outer", amount=usd(CENT))
    for name in ("inner", "none"):
        result = await reserve(ledger, f"in-{name}", within=name, amount=usd(1))
        assert result.error.reason == "WITHIN_NOT_FOUND"


async def test_an_extended_reservation_lives_longer_and_never_shorter(
    ledger: Ledger, clock: Clock
) -> None:
    await ledger.reserve("a", DOLLAR, ttl=duration(60 * SECOND))
    ids = ["a", "none"]
    for seconds in (120, 1):
        request = ledger_pb2.ExtendReservationsRequest(
            project=PROJECT, reservation_ids=ids, ttl=duration(seconds * SECOND)
        )
        results = (await ledger.stub.ExtendReservations(request)).results
        assert [one.error.reason for one in results] == ["", "RESERVATION_NOT_FOUND"]
    clock.pass_ns(119 * SECOND)
    await ledger.expire()
    assert await ledger.money() == (0, DOLLAR)
    clock.pass_ns(SECOND)
    await ledger.expire()
    assert await ledger.money() == (DOLLAR, 0)
    assert (await ledger.stub.ExtendReservations(request)).results[0].error.reason == (
        "RESERVATION_ENDED"
    )


async def test_an_account_is_one_for_all_projects(tmp_path: Path) -> None:
    async with served(LedgerService, tmp_path, "grpc") as running:
        mine = Ledger(running)
        token = running.node.mint.mint(Principal(Kind.SERVICE, "coordinator", "q"))
        async with connect(running.node.address, token) as channel:
            theirs: Any = LedgerServiceStub(channel)
            await mine.cap(ACCOUNT, DOLLAR)
            await mine.reserve("a", 60 * CENT, ACCOUNT, RUN)
            one = ledger_pb2.ReservationRequest(
                reservation_id="a", scopes=[ACCOUNT, RUN], amount=usd(60 * CENT)
            )
            request = ledger_pb2.ReserveFundsRequest(project="q", requests=[one])
            refusal = (await theirs.ReserveFunds(request)).results[0].refusal
            assert refusal.available == usd(40 * CENT)
            await mine.settle("a", 10 * CENT)
            assert (await theirs.ReserveFunds(request)).results[0].HasField("reservation")
            assert await mine.money(ACCOUNT) == (10 * CENT, 60 * CENT)
            assert await mine.money(RUN) == (10 * CENT, 0)
            listing = ledger_pb2.ListEntriesRequest(project="q", scope=ACCOUNT)
            assert len((await theirs.ListEntries(listing)).entries) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"amount": usd(-1)},
        {"amount": usd(1), "usage": used(1)},
        {"usage": used(-1)},
        {"usage": used(1), "min_output_tokens": 2},
        {"amount": usd(1), "min_output_tokens": 1},
        {"amount": usd(1), "within": "a"},
        {"amount": usd(1), "ttl": duration(-1)},
    ],
)
async def test_reservations_that_make_no_sense_are_refused(
    ledger: Ledger, change: dict[str, Any]
) -> None:
    call = reserve(ledger, "a", **({"scopes": [RUN]} | change))
    assert await refused(call) == ("INVALID_ARGUMENT", "INVALID_FIELD")


async def test_a_state_folder_of_before_keeps_its_caps_and_entries(
    tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir(parents=True)
    sql = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    migrate(sql, "service", MIGRATIONS[:1])
    row = ("p", RUN.kind, RUN.id, "USD", 90 * CENT, 0, DOLLAR, 80 * CENT, 1, 0)
    sql.execute(f"INSERT INTO scopes VALUES ({', '.join('?' * 10)})", row)
    for number, nanos in ((1, 50 * CENT), (3, 40 * CENT)):
        entry = ledger_pb2.LedgerEntry(entry_id=f"e{number}", scopes=[RUN], amount=usd(nanos))
        body = entry.SerializeToString()
        sql.execute("INSERT INTO entries VALUES (?, 'p', ?, ?)", (number, f"e{number}", body))
        values = ("p", RUN.kind, RUN.id, number)
        sql.execute("INSERT INTO entry_scopes VALUES (?, ?, ?, ?)", values)
    sql.close()
    async with served(LedgerService, tmp_path, "in process", clock) as running:
        ledger = Ledger(running)
        assert (await ledger.reserve("a", 11 * CENT)).refusal.available == usd(10 * CENT)
        await ledger.record("e", 10 * CENT)
        assert await ledger.events() == ["cost_posted", "budget_exceeded"]
        request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=RUN)
        balance = (await ledger.stub.GetBalance(request)).balance
        assert balance.cap == usd(DOLLAR)
        assert timestamp_ns(balance.budgets[0].began_at) == 0
        assert await ledger.entries() == [50 * CENT, 40 * CENT, 10 * CENT]


async def test_how_scopes_of_each_project_stand_is_measured(tmp_path: Path) -> None:
    counts: dict[str, str] = {}
    for begins in (True, False):
        async with served(LedgerService, tmp_path, "in process") as running:
            ledger = Ledger(running)
            if begins:
                await ledger.cap(RUN, DOLLAR, window=DAY)
                await ledger.reserve("a", 50 * CENT, RUN, TASK)
                await ledger.reserve("b", 20 * CENT, RUN, TASK)
                await ledger.settle("a", 30 * CENT)
                await ledger.settle("a", 30 * CENT)
                await _reserve_elsewhere(running, 70 * CENT)
            text = generate_latest(running.node.registry).decode()
            counts |= dict(re.findall(r"^coord_ledger_(s\S+) (\S+)$", text, re.MULTILINE))
            run = 'kind="run",project="{}",scope="r"'
            mine, theirs = run.format("p"), run.format("q")
            both = 'kind="account",project="",scope="key"'
            assert counts[f'scope_posted{{currency="USD",{mine}}}'] == "0.3"
            assert counts[f'scope_pending{{currency="USD",{mine}}}'] == "0.2"
            assert counts[f'scope_cap{{currency="USD",{mine},window="day"}}'] == "1.0"
            assert counts[f'scope_pending{{currency="USD",{theirs}}}'] == "0.7"
            assert counts[f'scope_pending{{currency="USD",{both}}}'] == "0.7"
    assert counts['settled_minus_reserved{currency="USD"}'] == "-0.2"
    assert not any('kind="task"' in name for name in counts)


async def _reserve_elsewhere(running: Served, nanos: int) -> None:
    """Reserve in another project, of the same run's name and of an account."""
    one = ledger_pb2.ReservationRequest(
        reservation_id="a", scopes=[RUN, ACCOUNT], amount=usd(nanos)
    )
    token = running.node.mint.mint(Principal(Kind.SERVICE, "tester", "q"))
    stub: Any = LedgerServiceStub(TokenChannel(running.node._local, token))
    await stub.ReserveFunds(ledger_pb2.ReserveFundsRequest(project="q", requests=[one]))
