"""The ledger's sums through random histories, on its real store, reopened between any two steps."""

import asyncio
import tempfile
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coord.environment import Environment
from coord.times import SECOND, duration
from coord.v1 import common_pb2, ledger_pb2
from coord_ledger.service import LedgerService
from coord_runtime.calls import Call
from coord_runtime.event_log import events_of
from coord_runtime.service import ServiceContext
from coord_runtime.tokens import Kind, Principal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

CALL = Call(Principal(Kind.SERVICE, "tester", "p"), "")
RUN = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")
TASKS = [ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id=f"t{i}") for i in range(2)]
SCOPES = [RUN, *TASKS]
Key = tuple[int, str]


def usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)


@dataclass
class Expected:
    """What a reservation should be, the long way."""

    scopes: list[ledger_pb2.Scope]
    held: int
    expires_ns: int
    drawn: int = 0
    live: bool = True
    expired: int = 0
    outer: "Expected | None" = None

    def draw(self, nanos: int) -> None:
        left = max(0, nanos)
        for one in (self, self.outer):
            if one is not None:
                taken = min(one.held, left) if one.live else 0
                one.held, one.drawn, left = one.held - taken, one.drawn + nanos, left - taken

    def end(self) -> None:
        if self.outer is not None and self.outer.live:
            self.outer.held += self.held
        self.held, self.live = 0, False


@dataclass
class World:
    """A ledger that may crash, and what it should say."""

    folder: Path
    now: int = 1_800_000_000 * SECOND
    reservations: dict[str, Expected] = field(default_factory=dict)
    posted: Counter[Key] = field(default_factory=Counter)
    caps: dict[Key, int] = field(default_factory=dict)
    made: int = 0
    done: list[tuple[str, Any]] = field(default_factory=list)
    ledger: LedgerService = field(init=False)

    async def open(self) -> None:
        random = Random(self.made)
        environment = Environment(lambda: self.now, lambda: self.now, random)
        self.ledger = await LedgerService.open(
            ServiceContext(
                name="ledger",
                project="p",
                folder=self.folder,
                environment=environment,
                registry=CollectorRegistry(),
                channel=pytest.fail,
                inline_stores=True,
            )
        )

    async def call(self, method: str, request: Any) -> Any:
        self.done.append((method, request))
        return await self.send(method, request)

    async def send(self, method: str, request: Any) -> Any:
        """Call a handler, with a message of its own."""
        return await getattr(self.ledger, method)(deepcopy(request), CALL)

    async def reserve(self, nanos: int, pick: int) -> None:
        self.made += 1
        name, scopes = f"r{self.made}", [RUN, TASKS[pick % 2]]
        request = ledger_pb2.ReservationRequest(
            reservation_id=name,
            scopes=scopes,
            amount=usd(nanos),
            ttl=duration((1 + pick) * SECOND),
            min_amount=usd(1 + nanos // 2) if pick % 3 else None,
        )
        response = await self.call(
            "reserve_funds", ledger_pb2.ReserveFundsRequest(project="p", requests=[request])
        )
        rooms = [self.caps[_key(s)] - sum(self.expected(s)) for s in scopes if _key(s) in self.caps]
        fits = min([nanos, *rooms])
        wanted = 1 + nanos // 2 if pick % 3 else nanos
        result = response.results[0]
        assert result.HasField("reservation") == (fits >= wanted)
        if fits >= wanted:
            assert result.reservation.amount.nanos == fits
            expires_ns = self.now + (1 + pick) * SECOND
            self.reservations[name] = Expected(scopes, fits, expires_ns)

    async def within(self, nanos: int, pick: int) -> None:
        outer, name = self._pick(pick)
        if outer is None:
            return
        self.made += 1
        request = ledger_pb2.ReservationRequest(
            reservation_id=f"r{self.made}",
            within=name,
            amount=usd(nanos),
            ttl=duration((1 + pick) * SECOND),
        )
        response = await self.call(
            "reserve_funds", ledger_pb2.ReserveFundsRequest(project="p", requests=[request])
        )
        can = outer.live and outer.outer is None and outer.held >= nanos
        assert response.results[0].HasField("reservation") == can
        if can:
            outer.held -= nanos
            expires_ns = self.now + (1 + pick) * SECOND
            inner = Expected(outer.scopes, nanos, expires_ns, outer=outer)
            self.reservations[request.reservation_id] = inner

    async def record(self, nanos: int, pick: int) -> None:
        self.made += 1
        held, name = self._pick(pick) if pick % 4 else (None, "")
        scopes = held.scopes if held else [TASKS[pick % 2]]
        cost = ledger_pb2.Cost(
            entry_id=f"e{self.made}", scopes=scopes, amount=usd(nanos), reservation_id=name
        )
        await self.call("record_costs", ledger_pb2.RecordCostsRequest(project="p", costs=[cost]))
        if held:
            held.draw(nanos)
        self._post(scopes, nanos)

    async def settle(self, nanos: int, pick: int) -> None:
        held, name = self._pick(pick)
        if held is None:
            return
        settlement = ledger_pb2.Settlement(reservation_id=name, actual=usd(nanos))
        response = await self.call(
            "settle_reservations",
            ledger_pb2.SettleReservationsRequest(project="p", settlements=[settlement]),
        )
        if not response.results[0].HasField("error"):
            self._post(held.scopes, nanos - held.drawn)
            held.draw(nanos - held.drawn)
            held.end()
            # What has ended is left alone from here on; repetitions come from `repeat`.
            del self.reservations[name]

    async def release(self, pick: int) -> None:
        held, name = self._pick(pick)
        if held is None:
            return
        request = ledger_pb2.ReleaseReservationsRequest(project="p", reservation_ids=[name])
        response = await self.call("release_reservations", request)
        if not response.results[0].HasField("error"):
            self._post(held.scopes, -held.expired)
            held.draw(-held.expired)
            held.end()
            del self.reservations[name]

    async def cap(self, nanos: int, pick: int) -> None:
        scope = SCOPES[pick % 3]
        await self.call(
            "set_budget", ledger_pb2.SetBudgetRequest(project="p", scope=scope, cap=usd(nanos * 3))
        )
        self.caps[_key(scope)] = nanos * 3

    async def expire(self, nanos: int) -> None:
        self.now += nanos * SECOND // 4
        await self.ledger.expire_reservations()
        for held in self.reservations.values():
            if held.live and held.expires_ns <= self.now:
                held.expired = held.held
                self._post(held.scopes, held.expired)
                held.draw(held.expired)
                held.end()

    async def repeat(self, pick: int) -> None:
        """Send once more what has had its effect: it has no second one."""
        again = [(m, r) for m, r in self.done if m in ("record_costs", "settle_reservations")]
        if again:
            method, request = again[pick % len(again)]
            await self.send(method, request)

    async def check(self) -> None:
        for scope in SCOPES:
            request = ledger_pb2.GetBalanceRequest(project="p", scope=scope)
            balance = (await self.ledger.get_balance(request, CALL)).balance
            assert (balance.posted.nanos, balance.pending.nanos) == self.expected(scope)
            listing = ledger_pb2.ListEntriesRequest(project="p", scope=scope, page_size=1_000)
            entries = (await self.ledger.list_entries(listing, CALL)).entries
            assert sum(entry.amount.nanos for entry in entries) == balance.posted.nanos

    def expected(self, scope: ledger_pb2.Scope) -> tuple[int, int]:
        """Posted and pending."""
        held = (each.held for each in self.reservations.values() if scope in each.scopes)
        return self.posted[_key(scope)], sum(held)

    async def check_events(self) -> None:
        """Each cap was warned of and exceeded at most once, and as soon as it was so."""
        await self.ledger.stop()
        await self.open()
        told: Counter[tuple[str, Key]] = Counter()
        posted: Counter[Key] = Counter()
        caps: dict[Key, int] = {}
        last = 0
        for event in _events(self.ledger):
            last += 1
            assert event.meta.sequence == last
            kind = event.WhichOneof("kind")
            if kind == "cost_posted":
                self._none_is_overdue(posted, caps, told)
                for scope in event.cost_posted.entry.scopes:
                    posted[_key(scope)] += event.cost_posted.entry.amount.nanos
                continue
            balance = getattr(event, kind).balance
            key = _key(balance.scope)
            if kind == "budget_set":
                caps[key] = balance.cap.nanos
                told["budget_warned", key] = told["budget_exceeded", key] = 0
            told[kind, key] += 1
            assert told[kind, key] == 1 or kind == "budget_set"
        self._none_is_overdue(posted, caps, told)

    def _none_is_overdue(
        self, posted: Counter[Key], caps: dict[Key, int], told: Counter[tuple[str, Key]]
    ) -> None:
        for key, cap in caps.items():
            assert posted[key] < cap or told["budget_exceeded", key] == 1
            assert posted[key] * 10 < cap * 8 or told["budget_warned", key] == 1

    def _pick(self, pick: int) -> tuple[Expected | None, str]:
        if not self.reservations:
            return None, ""
        name = list(self.reservations)[pick % len(self.reservations)]
        return self.reservations[name], name

    def _post(self, scopes: list[ledger_pb2.Scope], nanos: int) -> None:
        for scope in scopes:
            self.posted[_key(scope)] += nanos


def _key(scope: ledger_pb2.Scope) -> Key:
    return scope.kind, scope.id


def _events(ledger: LedgerService) -> list[ledger_pb2.LedgerEvent]:
    query = "SELECT last, body FROM event_pages ORDER BY last"
    rows = ledger._store._database.read(lambda sql: sql.execute(query).fetchall())  # type: ignore[attr-defined]
    event = ledger_pb2.LedgerEvent
    return [one for last, page in rows for one in events_of(last, page, event)]


async def live(steps: list[tuple[str, int, int, str]], folder: Path) -> None:
    world = World(folder)
    await world.open()
    for action, nanos, pick, then in steps:
        if action in ("reserve", "within", "record", "settle", "cap"):
            await getattr(world, action)(nanos, pick)
        elif action == "expire":
            await world.expire(nanos)
        else:
            await getattr(world, action)(pick)
        if then == "crash":
            world.ledger._store._database.crash()  # type: ignore[attr-defined]
            await world.open()
        await world.check()
    await world.check_events()
    await world.ledger.stop()


actions = (
    ["reserve"] * 4
    + ["within"] * 2
    + ["record"] * 3
    + ["settle", "release", "cap", "expire", "repeat"]
)
histories = st.lists(
    st.tuples(
        st.sampled_from(actions),
        st.integers(1, 40),
        st.integers(0, 12),
        st.sampled_from(["go on"] * 4 + ["crash"]),
    ),
    max_size=40,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(histories)
def test_entries_add_up_to_posted_and_caps_hold(steps: list[tuple[str, int, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(steps, Path(folder)))


async def test_what_an_expired_reservation_holds_can_be_released_instead(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.open()
    world.ledger._settings = world.ledger._settings.model_copy(update={"expired": "release"})
    await world.reserve(10, 0)
    world.now += 2 * SECOND
    await world.ledger.expire_reservations()
    world.reservations.clear()
    await world.check()
    await world.ledger.stop()
