"""The ledger: what was spent, what is promised, and what may be spent."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar, Self

import structlog
from coord.errors import CoordError
from coord.times import SECOND, timestamp_ns
from coord.v1 import common_pb2, ledger_pb2
from coord_runtime.calls import Call
from coord_runtime.checks import check_ids, check_money, check_one_of, check_range, page_size
from coord_runtime.database import Database
from coord_runtime.service import Service, ServiceContext
from google.protobuf.descriptor import ServiceDescriptor

from coord_ledger import answers, requests
from coord_ledger.metrics import LedgerMetrics
from coord_ledger.pages import MIGRATIONS
from coord_ledger.prices import CURRENCY, Prices
from coord_ledger.pricing import price_request, price_settlement, tell_tokens
from coord_ledger.settings import LedgerSettings
from coord_ledger.sqlite import SqliteLedgerStore
from coord_ledger.store import LedgerStore

_EXPIRY_BATCH = 500
_THRESHOLDS_MAX = 16
# The end of the year 9999.
_AT_MAX_NS = 253_402_300_799 * SECOND

log = structlog.get_logger(__name__)


class LedgerService(Service):
    """Holds budgets, reservations and costs."""

    NAME = "ledger"
    DESCRIPTOR: ClassVar[ServiceDescriptor] = ledger_pb2.DESCRIPTOR.services_by_name[
        "LedgerService"
    ]
    # What workers spend is reported on their stream, and booked by the coordinator.
    WORKER_METHODS = frozenset({"GetBalance", "ListBudgets", "ListEntries"})

    def __init__(self, context: ServiceContext, database: Database) -> None:
        self._settings = context.settings(LedgerSettings)
        self._environment = context.environment
        self._prices = Prices(self._settings.prices)
        self._metrics = LedgerMetrics(context.registry)
        self._store: LedgerStore = SqliteLedgerStore(database, self._environment, self._metrics)
        self._expiry: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the ledger on its folder."""
        return cls(context, await context.open_database(MIGRATIONS))

    async def start(self) -> None:
        """Begin to look for reservations that have expired."""
        self._expiry = asyncio.create_task(self._expire_for_ever())

    async def stop(self) -> None:
        """End the expiry, and close the store."""
        if self._expiry:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await self._store.close()

    async def expire_reservations(self) -> None:
        """End the reservations that are due."""
        post = self._settings.expired == "post"
        while self._store.expired():
            self._metrics.count_posted(await self._store.expire(_EXPIRY_BATCH, post=post))

    async def estimate_cost(
        self, request: ledger_pb2.EstimateCostRequest, call: Call
    ) -> ledger_pb2.EstimateCostResponse:
        """Return what a call to a model costs."""
        del call
        requests.check_usage("usage", request.usage)
        at_ns = timestamp_ns(request.at) if request.HasField("at") else self._environment.now_ns()
        check_range("at, in ns", at_ns, 0, _AT_MAX_NS)
        await self._prices.load()
        priced = self._prices.cost(request.usage, at_ns)
        amount = common_pb2.Money(currency=CURRENCY, nanos=priced.nanos)
        return ledger_pb2.EstimateCostResponse(
            amount=amount, model=priced.model, source=priced.source
        )

    async def extend_reservations(
        self, request: ledger_pb2.ExtendReservationsRequest, call: Call
    ) -> ledger_pb2.ExtendReservationsResponse:
        """Let reservations live longer."""
        del call
        check_ids("reservation_ids", request.reservation_ids)
        ttl_ns = requests.check_ttl("ttl", request.ttl)
        results = await self._store.extend(request.project, request.reservation_ids, ttl_ns)
        told = answers.reported(request.reservation_ids, results)
        return ledger_pb2.ExtendReservationsResponse(results=told)

    async def get_balance(
        self, request: ledger_pb2.GetBalanceRequest, call: Call
    ) -> ledger_pb2.GetBalanceResponse:
        """Return what was posted to a scope, what is pending, and its cap."""
        del call
        key = requests.check_scope("scope", request.project, request.scope)
        balance = self._store.balance(request.project, key).balance()
        return ledger_pb2.GetBalanceResponse(balance=balance)

    async def list_budgets(
        self, request: ledger_pb2.ListBudgetsRequest, call: Call
    ) -> ledger_pb2.ListBudgetsResponse:
        """Return the scopes that have a cap, by kind and id."""
        del call
        size, after = page_size(request.page_size), requests.scope_after(request.page_token)
        found = self._store.capped(request.project, after, size + 1)
        return ledger_pb2.ListBudgetsResponse(
            balances=[account.balance() for account in found[:size]],
            next_page_token=requests.scope_token(found[size - 1].key) if len(found) > size else "",
        )

    async def list_entries(
        self, request: ledger_pb2.ListEntriesRequest, call: Call
    ) -> ledger_pb2.ListEntriesResponse:
        """Return the entries of a scope, oldest first."""
        del call
        key = requests.check_scope("scope", request.project, request.scope)
        size, after = page_size(request.page_size), requests.entry_number(request.page_token)
        found = self._store.entries(request.project, key, after, size + 1)
        return ledger_pb2.ListEntriesResponse(
            entries=[entry for _, entry in found[:size]],
            next_page_token=str(found[size - 1][0]) if len(found) > size else "",
        )

    async def record_costs(
        self, request: ledger_pb2.RecordCostsRequest, call: Call
    ) -> ledger_pb2.RecordCostsResponse:
        """Post costs that have arisen, whatever the caps say."""
        del call
        requests.check_costs(request.project, request.costs)
        posted = await self._store.record(request.project, request.costs)
        self._metrics.count_posted(posted.entries)
        return ledger_pb2.RecordCostsResponse(results=posted.results)

    async def release_reservations(
        self, request: ledger_pb2.ReleaseReservationsRequest, call: Call
    ) -> ledger_pb2.ReleaseReservationsResponse:
        """Give back what reservations still hold."""
        del call
        check_ids("reservation_ids", request.reservation_ids)
        results = await self._store.release(request.project, request.reservation_ids)
        told = answers.reported(request.reservation_ids, results)
        return ledger_pb2.ReleaseReservationsResponse(results=told)

    async def reserve_funds(
        self, request: ledger_pb2.ReserveFundsRequest, call: Call
    ) -> ledger_pb2.ReserveFundsResponse:
        """Reserve money in all scopes of each request, or in none."""
        del call
        asks = requests.reservations(request)
        contents = {ask.content: None for ask in asks}
        if any(one.message.HasField("usage") for one in contents):
            await self._prices.load()
        now_ns = self._environment.now_ns()
        for content in contents:
            content.error = price_request(self._prices, content.message, now_ns)
        priced = [ask for ask in asks if ask.content.error is None]
        if request.check_only:
            results = self._store.check(request.project, priced)
        else:
            results = await self._store.reserve(request.project, priced)
            self._metrics.count_reserved(results)
        tell_tokens(self._prices, priced, results, now_ns)
        return answers.reserved(asks, results)

    async def set_budget(
        self, request: ledger_pb2.SetBudgetRequest, call: Call
    ) -> ledger_pb2.SetBudgetResponse:
        """Cap a scope, change its cap, or take it away."""
        requests.check_scope("scope", request.project, request.scope)
        if request.remove:
            requests.check_removal(request)
        else:
            check_money("cap", request.cap)
        check_range("warn_at", request.warn_at, 0, 1)
        check_range("thresholds: how many", len(request.thresholds), 0, _THRESHOLDS_MAX)
        for threshold in request.thresholds:
            check_range("thresholds", threshold, 0, 1)
        if request.window:
            check_one_of("window", request.window, ledger_pb2.BudgetWindow.values())
        return await self._store.set_budget(request, call.once)

    async def settle_reservations(
        self, request: ledger_pb2.SettleReservationsRequest, call: Call
    ) -> ledger_pb2.SettleReservationsResponse:
        """End reservations with the total that was spent on them."""
        del call
        asks = requests.settlements(request)
        contents = {ask.content: None for ask in asks}
        if not all(one.message.HasField("actual") for one in contents):
            await self._prices.load()
        now_ns = self._environment.now_ns()
        for content in contents:
            content.error = price_settlement(self._prices, content.message, now_ns)
        priced = [ask for ask in asks if ask.content.error is None]
        posted = await self._store.settle(request.project, priced)
        self._metrics.count_posted(posted.entries)
        return answers.settled(asks, posted.results)

    async def watch_ledger_events(
        self, request: ledger_pb2.WatchLedgerEventsRequest, call: Call
    ) -> AsyncIterator[ledger_pb2.WatchLedgerEventsResponse]:
        """Send the project's events after a number, then new ones as they happen."""
        del call
        async for events in self._store.watch(request.project, request.after):
            yield ledger_pb2.WatchLedgerEventsResponse(events=events)

    async def _expire_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.expiry_interval_s)
            try:
                await self.expire_reservations()
            except CoordError:
                log.exception("expiry failed, it will be tried again")
