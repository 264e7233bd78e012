"""Entries that are not on disk yet. Those that differ in their ids only are one message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coord.times import set_timestamp
from coord.v1 import common_pb2, ledger_pb2
from coord_runtime.database import Transaction

from coord_ledger.account import Key

_IDS = ("cost_posted.entry.entry_id", "cost_posted.entry.reservation_id")


@dataclass(slots=True, eq=False)
class Posting:
    """Entries with the same scopes and the same amount.

    Attributes:
        ids: The id of each, and that of its reservation; empty for none.
        scopes: What they count for, in order.
        event: The event of each, which holds the entry itself: of one with its ids, of several
            without.
    """

    ids: Sequence[tuple[str, str]]
    scopes: tuple[Key, ...]
    event: ledger_pb2.LedgerEvent

    @property
    def entry(self) -> ledger_pb2.LedgerEntry:
        """The entry, without its ids where there are several."""
        return self.event.cost_posted.entry

    def bodies(self) -> Iterator[tuple[str, bytes]]:
        """Yield each entry's id, and the entry serialised."""
        common = self.entry.SerializeToString()
        if len(self.ids) == 1:
            yield self.ids[0][0], common
            return
        # Messages that follow one another are read as one.
        own = ledger_pb2.LedgerEntry()
        for own.entry_id, own.reservation_id in self.ids:
            yield own.entry_id, own.SerializeToString() + common

    def emit(self, transaction: Transaction, project: str) -> None:
        """Tell of each entry."""
        if len(self.ids) == 1:
            transaction.emit(project, self.event)
            return
        transaction.emit_all(project, self.event, _IDS, self.ids)


def posting(
    ids: Sequence[tuple[str, str]],
    scopes: tuple[Key, ...],
    amount: common_pb2.Money,
    usage: common_pb2.Usage,
    now_ns: int,
) -> Posting:
    """Return new entries: what is taken from each of several reservations, or from none.

    Args:
        ids: The id of each, and that of its reservation.
        scopes: What they count for, in order.
        amount: How much each of them is.
        usage: What it was spent on.
        now_ns: The wall clock.
    """
    # Field by field, which takes half the time of making the parts and copying them.
    event = ledger_pb2.LedgerEvent()
    entry = event.cost_posted.entry
    if len(ids) == 1:
        entry.entry_id, entry.reservation_id = ids[0]
    for kind, name in scopes:
        entry.scopes.add(kind=kind, id=name)
    entry.amount.CopyFrom(amount)
    if usage.ByteSize():
        entry.usage.CopyFrom(usage)
    set_timestamp(entry.posted_at, now_ns)
    return Posting(ids, scopes, event)
