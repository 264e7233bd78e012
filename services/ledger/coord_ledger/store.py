"""What the ledger keeps on disk."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from coord.v1 import ledger_pb2
from coord_runtime.calls import Once

from coord_ledger.account import Account, Key, Owned
from coord_ledger.postings import Posting
from coord_ledger.requests import ReservationAsk, SettlementAsk

T = TypeVar("T")


@dataclass(frozen=True)
class Posted(Generic[T]):
    """What came of a batch: a result for each item, and the entries that it added."""

    results: list[T]
    entries: list[Posting]


class Watcher(Protocol):
    """Is told what was committed."""

    def show(self, accounts: Mapping[Owned, Account]) -> None:
        """Take note of how scopes stand."""

    def count_corrections(self, corrections: Mapping[str, int]) -> None:
        """Take note of by how much settlements were above what was reserved, by currency."""


class LedgerStore(Protocol):
    """The ledger's operations on its store; each write is one transaction.

    Results have no ids, and requests that are alike may share one: whoever answers puts the ids in.
    """

    def balance(self, project: str, key: Key) -> Account:
        """Return a scope's account; an empty one where it was never used."""

    def capped(self, project: str, after: Key, count_max: int) -> list[Account]:
        """Return the scopes with a cap that come after one, by kind and id."""

    def entries(
        self, project: str, key: Key, after: int, count_max: int
    ) -> list[tuple[int, ledger_pb2.LedgerEntry]]:
        """Return a scope's entries after a number, oldest first, with their numbers."""

    def expired(self) -> bool:
        """Return whether a reservation is due."""

    def check(
        self, project: str, asks: Sequence[ReservationAsk]
    ) -> list[ledger_pb2.ReservationResult]:
        """Return what would be decided on requests, one after another."""

    async def extend(
        self, project: str, reservation_ids: Sequence[str], ttl_ns: int
    ) -> list[ledger_pb2.ReservationReportResult]:
        """Let reservations live for at least so long from now on."""

    async def reserve(
        self, project: str, asks: Sequence[ReservationAsk]
    ) -> list[ledger_pb2.ReservationResult]:
        """Decide requests one by one."""

    async def record(
        self, project: str, costs: Sequence[ledger_pb2.Cost]
    ) -> Posted[ledger_pb2.RecordCostsResult]:
        """Post costs."""

    async def settle(
        self, project: str, asks: Sequence[SettlementAsk]
    ) -> Posted[ledger_pb2.ReservationReportResult]:
        """End reservations with their totals."""

    async def release(
        self, project: str, reservation_ids: Sequence[str]
    ) -> list[ledger_pb2.ReservationReportResult]:
        """End reservations and give back what they hold."""

    async def expire(self, count_max: int, *, post: bool) -> list[Posting]:
        """End at most so many reservations that are due; return the entries that it added."""

    async def set_budget(
        self, request: ledger_pb2.SetBudgetRequest, once: Once | None
    ) -> ledger_pb2.SetBudgetResponse:
        """Cap a scope, or take its cap away.

        Raises:
            CoordError: FAILED_PRECONDITION with reason CURRENCY_DIFFERS.
        """

    def watch(self, project: str, after: int) -> AsyncIterator[list[ledger_pb2.LedgerEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""

    async def close(self) -> None:
        """Finish what was handed in, and close."""
