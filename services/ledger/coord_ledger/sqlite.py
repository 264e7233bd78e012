"""The ledger's store in SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence

from coord.environment import Environment
from coord.errors import failed_precondition
from coord.v1 import ledger_pb2
from coord_runtime.calls import Once
from coord_runtime.database import Database, Transaction

from coord_ledger import pages
from coord_ledger.account import Account, Key, keys
from coord_ledger.books import Books
from coord_ledger.caps import TOTAL, Cap, window_start
from coord_ledger.store import Posted, Watcher

_LIST = """
SELECT number, body FROM entry_scopes JOIN entries USING (number)
WHERE entry_scopes.project = ? AND kind = ? AND id = ? AND number > ? ORDER BY number LIMIT ?
"""
_IS_DUE = "SELECT EXISTS (SELECT 1 FROM reservations WHERE state = 'HELD' AND expires_ns <= ?)"

_WARN_AT_DEFAULT = 0.8


class SqliteLedgerStore:
    """The ledger's store in SQLite."""

    def __init__(self, database: Database, environment: Environment, watcher: Watcher) -> None:
        self._database = database
        self._environment = environment
        self._watcher = watcher
        watcher.show(database.read(pages.load_shown))

    def balance(self, project: str, key: Key) -> Account:
        """Return a scope's account; an empty one where it was never used."""
        found = self._database.read(lambda sql: pages.load_accounts(sql, project, [key]))
        account = found[0] if found else Account(key)
        account.roll(self._environment.now_ns())
        return account

    def entries(
        self, project: str, key: Key, after: int, count_max: int
    ) -> list[tuple[int, ledger_pb2.LedgerEntry]]:
        """Return a scope's entries after a number, oldest first, with their numbers."""
        values = (*pages.owned(project, key), after, count_max)
        rows = self._database.read(lambda sql: sql.execute(_LIST, values).fetchall())
        return [(number, ledger_pb2.LedgerEntry.FromString(body)) for number, body in rows]

    def expired(self) -> bool:
        """Return whether a reservation is due."""
        now_ns = self._environment.now_ns()
        row = self._database.read(lambda sql: sql.execute(_IS_DUE, (now_ns,)).fetchone())
        return bool(row[0])

    async def reserve(
        self, project: str, requests: Sequence[ledger_pb2.ReservationRequest]
    ) -> list[ledger_pb2.ReservationResult]:
        """Decide requests one by one."""

        def operation(transaction: Transaction) -> list[ledger_pb2.ReservationResult]:
            books = self._books(transaction.now_ns)
            results = _reserve(transaction.sql, project, books, requests)
            self._save(transaction, project, books)
            return results

        return await self._database.write(operation)

    def check(
        self, project: str, requests: Sequence[ledger_pb2.ReservationRequest]
    ) -> list[ledger_pb2.ReservationResult]:
        """Return what would be decided on requests, one after another."""
        books = self._books(self._environment.now_ns())
        return self._database.read(lambda sql: _reserve(sql, project, books, requests))

    async def extend(
        self, project: str, reservation_ids: Sequence[str], ttl_ns: int
    ) -> list[ledger_pb2.ReservationReportResult]:
        """Let reservations live for at least so long from now on."""

        def operation(transaction: Transaction) -> list[ledger_pb2.ReservationReportResult]:
            books = self._books_of(transaction, project, reservation_ids)
            until_ns = transaction.now_ns + ttl_ns
            results = [books.extend(one, until_ns) for one in reservation_ids]
            self._save(transaction, project, books)
            return results

        return await self._database.write(operation)

    async def record(
        self, project: str, costs: Sequence[ledger_pb2.Cost]
    ) -> Posted[ledger_pb2.RecordCostsResult]:
        """Post costs."""

        def operation(transaction: Transaction) -> Posted[ledger_pb2.RecordCostsResult]:
            books = self._books(transaction.now_ns)
            ids = [cost.entry_id for cost in costs]
            books.entries = pages.load_entries(transaction.sql, project, ids)
            named = {cost.reservation_id for cost in costs if cost.reservation_id}
            _add_reservations(transaction.sql, project, books, named)
            wanted = {key for cost in costs for key in keys(cost.scopes)}
            _add_accounts(transaction.sql, project, books, wanted)
            results = [books.record(cost) for cost in costs]
            self._save(transaction, project, books)
            return Posted(results, books.posted)

        return await self._database.write(operation)

    async def settle(
        self, project: str, settlements: Sequence[ledger_pb2.Settlement]
    ) -> Posted[ledger_pb2.ReservationReportResult]:
        """End reservations with their totals."""

        def operation(transaction: Transaction) -> Posted[ledger_pb2.ReservationReportResult]:
            ids = [settlement.reservation_id for settlement in settlements]
            books = self._books_of(transaction, project, ids)
            results = [books.settle(settlement) for settlement in settlements]
            self._save(transaction, project, books)
            return Posted(results, books.posted)

        return await self._database.write(operation)

    async def release(
        self, project: str, reservation_ids: Sequence[str]
    ) -> list[ledger_pb2.ReservationReportResult]:
        """End reservations and give back what they hold."""

        def operation(transaction: Transaction) -> list[ledger_pb2.ReservationReportResult]:
            books = self._books_of(transaction, project, reservation_ids)
            results = [books.release(reservation_id) for reservation_id in reservation_ids]
            self._save(transaction, project, books)
            return results

        return await self._database.write(operation)

    async def expire(self, count_max: int, *, post: bool) -> list[ledger_pb2.LedgerEntry]:
        """End at most so many reservations that are due; return the entries that it added."""

        def operation(transaction: Transaction) -> list[ledger_pb2.LedgerEntry]:
            posted: list[ledger_pb2.LedgerEntry] = []
            due = pages.load_due(transaction.sql, transaction.now_ns, count_max)
            for project, reservations in due.items():
                ids = [held.reservation_id for held in reservations]
                books = self._books_of(transaction, project, ids)
                books.expire(post=post)
                self._save(transaction, project, books)
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
            _add_accounts(transaction.sql, request.project, books, [key])
            cap = _cap(transaction, key, request, books.account(key).posted)
            account = books.set_budget(key, request.cap.currency, cap)
            if account is None:
                present = books.account(key).currency
                raise failed_precondition(
                    "CURRENCY_DIFFERS",
                    f"the scope's money is in {present}, the cap in {request.cap.currency}; "
                    "amounts of two currencies are never added",
                    currency=present,
                )
            self._save(transaction, request.project, books)
            return ledger_pb2.SetBudgetResponse(balance=account.balance())

        return await self._database.write(operation, once)

    def watch(self, project: str, after: int) -> AsyncIterator[list[ledger_pb2.LedgerEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""
        return self._database.watch(project, after, ledger_pb2.LedgerEvent)

    async def close(self) -> None:
        """Finish what was handed in, and close."""
        await self._database.close()

    def _books(self, now_ns: int) -> Books:
        return Books(now_ns, lambda: self._environment.new_id("entry-"))

    def _save(self, transaction: Transaction, project: str, books: Books) -> None:
        pages.save(transaction.sql, project, books)
        for event in books.events:
            transaction.emit(project, event)

        def tell() -> None:
            self._watcher.show(books.accounts[key] for key in books.changed_accounts)
            self._watcher.count_corrections(books.corrections)

        transaction.committed.append(tell)

    def _books_of(
        self, transaction: Transaction, project: str, reservation_ids: Iterable[str]
    ) -> Books:
        books = self._books(transaction.now_ns)
        _add_reservations(transaction.sql, project, books, set(reservation_ids))
        return books


def _cap(
    transaction: Transaction, key: Key, request: ledger_pb2.SetBudgetRequest, posted: int
) -> Cap:
    """Return the cap that is asked for, with what was posted in its present window.

    Args:
        transaction: Where to look.
        key: The scope.
        request: What is asked for.
        posted: What was ever posted to the scope.
    """
    window = request.window or TOTAL
    began_ns = window_start(window, transaction.now_ns)
    if began_ns:
        posted = pages.posted_since(transaction.sql, request.project, key, began_ns)
    asked = {*request.thresholds, *([request.warn_at] if request.HasField("warn_at") else [])}
    thresholds = tuple(sorted(asked or {_WARN_AT_DEFAULT}))
    return Cap(window, request.cap.nanos, thresholds, posted, began_ns)


def _reserve(
    sql: sqlite3.Connection,
    project: str,
    books: Books,
    requests: Sequence[ledger_pb2.ReservationRequest],
) -> list[ledger_pb2.ReservationResult]:
    ids = {name for one in requests for name in (one.reservation_id, one.within) if name}
    _add_reservations(sql, project, books, ids)
    _add_accounts(sql, project, books, {key for one in requests for key in keys(one.scopes)})
    return [books.reserve(request) for request in requests]


def _add_accounts(
    sql: sqlite3.Connection, project: str, books: Books, wanted: Iterable[Key]
) -> None:
    missing = [key for key in wanted if key not in books.accounts]
    for account in pages.load_accounts(sql, project, missing):
        account.roll(books.now_ns)
        books.accounts[account.key] = account


def _add_reservations(
    sql: sqlite3.Connection, project: str, books: Books, wanted: Iterable[str]
) -> None:
    """Add reservations, those that they are within, and the accounts of all of them."""
    ids = set(wanted)
    while ids:
        found = pages.load_reservations(sql, project, ids)
        books.reservations.update({held.reservation_id: held for held in found})
        ids = {held.asked.within for held in found if held.asked.within}
        ids -= books.reservations.keys()
    _add_accounts(
        sql, project, books, {key for held in books.reservations.values() for key in held.keys}
    )
