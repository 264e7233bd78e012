"""The ledger's store in SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TypeVar

from coord.environment import Environment
from coord.errors import failed_precondition
from coord.v1 import ledger_pb2
from coord_runtime.calls import Once
from coord_runtime.database import Database, Transaction

from coord_ledger import pages
from coord_ledger.account import Account, Key, keys, kind_name
from coord_ledger.books import Books
from coord_ledger.caps import TOTAL, Cap, window_start
from coord_ledger.postings import Posting
from coord_ledger.requests import ReservationAsk, SettlementAsk
from coord_ledger.shelf import Shelf
from coord_ledger.store import Posted, Watcher

_LIST = """
SELECT number, body FROM entry_runs CROSS JOIN entries ON number BETWEEN max(first, ?4) AND last
WHERE entry_runs.project = ?1 AND kind = ?2 AND id = ?3 AND last >= ?4
ORDER BY last, number LIMIT ?5
"""
_IS_DUE = "SELECT EXISTS (SELECT 1 FROM reservations WHERE state = 'HELD' AND expires_ns <= ?)"

_HAS_BUDGETS = "SELECT 1 FROM sqlite_schema WHERE name = 'budgets'"

_WARN_AT_DEFAULT = 0.8
T = TypeVar("T")


def capped_scopes(folder: Path) -> list[str]:
    """Return the scopes that have a cap in a ledger that is not served, such as `run/a`.

    Args:
        folder: The ledger's folder, which need not be there.
    """
    path = folder / "ledger.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
        if not sql.execute(_HAS_BUDGETS).fetchone():  # It is older than they are.
            return []
        rows = sql.execute("SELECT DISTINCT kind, id FROM budgets ORDER BY kind, id").fetchall()
    return [f"{kind_name(kind)}/{name}" for kind, name in rows]


class SqliteLedgerStore:
    """The ledger's store in SQLite."""

    def __init__(self, database: Database, environment: Environment, watcher: Watcher) -> None:
        self._database = database
        self._environment = environment
        self._watcher = watcher
        self._shelf = Shelf()
        database.attach(self._shelf)
        watcher.show(database.read(pages.load_shown))

    def balance(self, project: str, key: Key) -> Account:
        """Return a scope's account; an empty one where it was never used."""
        found = self._database.read(lambda sql: pages.load_accounts(sql, project, [key]))
        account = found[0] if found else Account(key)
        account.roll(self._environment.now_ns())
        return account

    def capped(self, project: str, after: Key, count_max: int) -> list[Account]:
        """Return the scopes with a cap that come after one, by kind and id."""
        found = self._database.read(lambda sql: pages.load_capped(sql, project, after, count_max))
        for account in found:
            account.roll(self._environment.now_ns())
        return found

    def entries(
        self, project: str, key: Key, after: int, count_max: int
    ) -> list[tuple[int, ledger_pb2.LedgerEntry]]:
        """Return a scope's entries after a number, oldest first, with their numbers."""
        values = (*pages.owned(project, key), after + 1, count_max)
        rows = self._database.read(lambda sql: sql.execute(_LIST, values).fetchall())
        return [(number, ledger_pb2.LedgerEntry.FromString(body)) for number, body in rows]

    def expired(self) -> bool:
        """Return whether a reservation is due."""
        now_ns = self._environment.now_ns()
        row = self._database.read(lambda sql: sql.execute(_IS_DUE, (now_ns,)).fetchone())
        return bool(row[0])

    async def reserve(
        self, project: str, asks: Sequence[ReservationAsk]
    ) -> list[ledger_pb2.ReservationResult]:
        """Decide requests one by one."""

        def operation(transaction: Transaction) -> list[ledger_pb2.ReservationResult]:
            books = self._books(transaction.now_ns)
            results = _reserve(self._shelf, transaction.sql, project, books, asks)
            self._keep(transaction, project, books)
            return results

        return await self._database.write(operation)

    def check(
        self, project: str, asks: Sequence[ReservationAsk]
    ) -> list[ledger_pb2.ReservationResult]:
        """Return what would be decided on requests, one after another."""
        books = self._books(self._environment.now_ns())
        return self._database.read(lambda sql: _reserve(Shelf(), sql, project, books, asks))

    async def extend(
        self, project: str, reservation_ids: Sequence[str], ttl_ns: int
    ) -> list[ledger_pb2.ReservationReportResult]:
        """Let reservations live for at least so long from now on."""

        def decide(books: Books) -> list[ledger_pb2.ReservationReportResult]:
            return [books.extend(one, books.now_ns + ttl_ns) for one in reservation_ids]

        return await self._report(project, reservation_ids, decide)

    async def record(
        self, project: str, costs: Sequence[ledger_pb2.Cost]
    ) -> Posted[ledger_pb2.RecordCostsResult]:
        """Post costs."""

        def operation(transaction: Transaction) -> Posted[ledger_pb2.RecordCostsResult]:
            books, sql = self._books(transaction.now_ns), transaction.sql
            self._shelf.add_entries(sql, project, books, [cost.entry_id for cost in costs])
            named = {cost.reservation_id for cost in costs if cost.reservation_id}
            self._shelf.add_reservations(sql, project, books, named)
            wanted = {key for cost in costs for key in keys(cost.scopes)}
            self._shelf.add_accounts(sql, project, books, wanted)
            results = [books.record(cost) for cost in costs]
            self._keep(transaction, project, books)
            return Posted(results, books.posted)

        return await self._database.write(operation)

    async def settle(
        self, project: str, asks: Sequence[SettlementAsk]
    ) -> Posted[ledger_pb2.ReservationReportResult]:
        """End reservations with their totals."""

        def decide(books: Books) -> Posted[ledger_pb2.ReservationReportResult]:
            return Posted(books.settle(asks), books.posted)

        return await self._report(project, [ask.reservation_id for ask in asks], decide)

    async def release(
        self, project: str, reservation_ids: Sequence[str]
    ) -> list[ledger_pb2.ReservationReportResult]:
        """End reservations and give back what they hold."""

        def decide(books: Books) -> list[ledger_pb2.ReservationReportResult]:
            return [books.release(one) for one in reservation_ids]

        return await self._report(project, reservation_ids, decide)

    async def expire(self, count_max: int, *, post: bool) -> list[Posting]:
        """End at most so many reservations that are due; return the entries that it added."""

        def operation(transaction: Transaction) -> list[Posting]:
            posted: list[Posting] = []
            due = pages.load_due(transaction.sql, transaction.now_ns, count_max)
            for project, reservation_ids in due.items():
                books = self._books_of(transaction, project, reservation_ids)
                books.expire(post=post)
                self._keep(transaction, project, books)
                posted += books.posted
            return posted

        return await self._database.write(operation)

    async def set_budget(
        self, request: ledger_pb2.SetBudgetRequest, once: Once | None
    ) -> ledger_pb2.SetBudgetResponse:
        """Cap a scope."""
        (key,) = keys([request.scope])

        def operation(transaction: Transaction) -> ledger_pb2.SetBudgetResponse:
            books = self._books(transaction.now_ns)
            self._shelf.add_accounts(transaction.sql, request.project, books, [key])
            account = books.account(key)
            if request.remove:
                books.remove_budget(account, request.window or TOTAL)
            else:
                self._set_cap(transaction, books, account, request)
            self._keep(transaction, request.project, books)
            return ledger_pb2.SetBudgetResponse(balance=account.balance())

        return await self._database.write(operation, once)

    def watch(self, project: str, after: int) -> AsyncIterator[list[ledger_pb2.LedgerEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""
        return self._database.watch(project, after, ledger_pb2.LedgerEvent)

    async def close(self) -> None:
        """Finish what was handed in, and close."""
        await self._database.close()

    def _books(self, now_ns: int) -> Books:
        return Books(now_ns, self._entry_ids().__next__)

    def _entry_ids(self) -> Iterator[str]:
        """Yield ids of entries; those of one operation stand side by side on disk."""
        first = self._environment.new_id("entry-")
        yield first
        yield from (f"{first}-{number}" for number in count(2))

    async def _report(
        self, project: str, reservation_ids: Iterable[str], decide: Callable[[Books], T]
    ) -> T:
        """Decide on reservations that are there."""

        def operation(transaction: Transaction) -> T:
            books = self._books_of(transaction, project, reservation_ids)
            results = decide(books)
            self._keep(transaction, project, books)
            return results

        return await self._database.write(operation)

    def _keep(self, transaction: Transaction, project: str, books: Books) -> None:
        self._shelf.keep(project, books)
        for event in books.events:
            if isinstance(event, Posting):
                event.emit(transaction, project)
                continue
            for concerned in _concerned(transaction.sql, project, event):
                transaction.emit(concerned, event)

        def tell() -> None:
            changed = books.changed_accounts.items()
            self._watcher.show({pages.owned(project, key): one for key, one in changed})
            self._watcher.count_corrections(books.corrections)

        transaction.committed.append(tell)

    def _books_of(
        self, transaction: Transaction, project: str, reservation_ids: Iterable[str]
    ) -> Books:
        books = self._books(transaction.now_ns)
        self._shelf.add_reservations(transaction.sql, project, books, reservation_ids)
        return books

    def _set_cap(
        self,
        transaction: Transaction,
        books: Books,
        account: Account,
        request: ledger_pb2.SetBudgetRequest,
    ) -> None:
        currency = request.cap.currency
        if not account.takes(currency):
            raise failed_precondition(
                "CURRENCY_DIFFERS",
                f"the scope's money is in {account.currency}, the cap in {currency}; "
                "amounts of two currencies are never added",
                currency=account.currency,
            )
        books.set_budget(account, currency, self._cap(transaction, account, request))

    def _cap(
        self, transaction: Transaction, account: Account, request: ledger_pb2.SetBudgetRequest
    ) -> Cap:
        """Return the cap that is asked for, with what was posted in its present window."""
        window, posted = request.window or TOTAL, account.posted
        began_ns = window_start(window, transaction.now_ns)
        if began_ns:
            sql, project = transaction.sql, request.project
            posted = self._shelf.posted_since(sql, project, account.key, began_ns)
        asked = {*request.thresholds, *([request.warn_at] if request.HasField("warn_at") else [])}
        thresholds = tuple(sorted(asked or {_WARN_AT_DEFAULT}))
        return Cap(window, request.cap.nanos, thresholds, posted, began_ns)


def _concerned(
    sql: sqlite3.Connection, project: str, event: ledger_pb2.LedgerEvent
) -> Iterable[str]:
    """Return the projects that are told of an event: of an account's caps, all that are known."""
    kind = event.WhichOneof("kind")
    if kind is None:
        return [project]
    if getattr(event, kind).balance.scope.kind != ledger_pb2.SCOPE_KIND_ACCOUNT:
        return [project]
    return sorted({project, *pages.projects(sql)})


def _reserve(
    shelf: Shelf,
    sql: sqlite3.Connection,
    project: str,
    books: Books,
    asks: Sequence[ReservationAsk],
) -> list[ledger_pb2.ReservationResult]:
    contents = {ask.content for ask in asks}
    ids = {ask.reservation_id for ask in asks}
    ids |= {one.message.within for one in contents if one.message.within}
    shelf.add_reservations(sql, project, books, ids)
    shelf.add_accounts(sql, project, books, {key for one in contents for key in one.scopes})
    return books.reserve(asks)
