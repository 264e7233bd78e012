"""The part of the books that is in memory: what is on disk, with what the next commit will add.

A scope that is in use, and a reservation that is live, is read once. What operations change is
noted here, and written in one statement a table for all operations that share a commit. Where that
commit fails, or an operation does half way, everything here is dropped, and read again from what is
on disk: so memory is never ahead of it for longer than a commit takes.
"""

import sqlite3
from collections.abc import Collection, Iterable

from coord.times import timestamp_ns

from coord_ledger import pages
from coord_ledger.account import Account, Held, Key, Owned
from coord_ledger.books import Books
from coord_ledger.pages import owned

# What is more than this is dropped, and read again where it is needed.
_KEPT_MAX = 20_000


class Shelf:
    """Accounts and reservations of all projects, and what of them is not written yet."""

    def __init__(self) -> None:
        self._accounts: dict[Owned, Account] = {}
        self._reservations: dict[tuple[str, str], Held] = {}
        self._changed_accounts: dict[Owned, Account] = {}
        self._changed_reservations: dict[tuple[str, str], Held] = {}
        self._removed: dict[tuple[Owned, int], None] = {}
        self._posted: dict[tuple[str, str], pages.Entry] = {}

    def add_accounts(
        self, sql: sqlite3.Connection, project: str, books: Books, wanted: Iterable[Key]
    ) -> None:
        """Add scopes to a part of the books."""
        places = {key: owned(project, key) for key in wanted if key not in books.accounts}
        missing = [key for key, place in places.items() if place not in self._accounts]
        self._accounts |= {places[key]: Account(key) for key in missing}
        for account in pages.load_accounts(sql, project, missing) if missing else ():
            self._accounts[places[account.key]] = account
        for key, place in places.items():
            account = books.accounts[key] = self._accounts[place]
            account.roll(books.now_ns)

    def add_reservations(
        self, sql: sqlite3.Connection, project: str, books: Books, wanted: Iterable[str]
    ) -> None:
        """Add reservations, those that they are within, and the scopes of all of them."""
        ids = set(wanted)
        while ids:
            found = self._found(sql, project, ids)
            books.reservations |= {held.reservation_id: held for held in found}
            ids = {held.within for held in found if held.within}
            ids -= books.reservations.keys()
        scopes = {key for held in books.reservations.values() for key in held.keys}
        self.add_accounts(sql, project, books, scopes)

    def add_entries(
        self, sql: sqlite3.Connection, project: str, books: Books, wanted: Collection[str]
    ) -> None:
        """Add those of the entries that are there."""
        books.entries = pages.load_entries(sql, project, wanted)
        for name in wanted:
            if (project, name) in self._posted:
                books.entries[name] = self._posted[project, name].message

    def posted_since(self, sql: sqlite3.Connection, project: str, key: Key, began_ns: int) -> int:
        """Return what was posted to a scope from a time on."""
        place = owned(project, key)
        new = sum(
            entry.message.amount.nanos
            for (owner, _), entry in self._posted.items()
            if timestamp_ns(entry.message.posted_at) >= began_ns
            and any(owned(owner, one) == place for one in entry.scopes)
        )
        return new + pages.posted_since(sql, project, key, began_ns)

    def keep(self, project: str, books: Books) -> None:
        """Note what an operation has changed."""
        for key, account in books.changed_accounts.items():
            place = owned(project, key)
            self._accounts[place] = self._changed_accounts[place] = account
        for name, held in books.changed_reservations.items():
            self._reservations[project, name] = self._changed_reservations[project, name] = held
        for key, window in books.removed:
            self._removed[owned(project, key), window] = None
        for posting in books.posted:
            for name, body in posting.bodies():
                self._posted[project, name] = pages.Entry(posting.scopes, body)

    def flush(self, sql: sqlite3.Connection) -> None:
        """Write what was changed; keep what is likely to be needed again."""
        pages.remove_caps(sql, self._removed)
        pages.save_accounts(sql, self._changed_accounts)
        pages.save_reservations(sql, self._changed_reservations)
        pages.append_entries(sql, self._posted)
        for place, held in self._changed_reservations.items():
            held.stored = True
            if not held.live:
                del self._reservations[place]
        self._forget_changes()
        for kept in (self._accounts, self._reservations):
            if len(kept) > _KEPT_MAX:
                kept.clear()

    def forget(self) -> None:
        """Drop everything: it is not what is on disk."""
        self._accounts.clear()
        self._reservations.clear()
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._changed_accounts.clear()
        self._changed_reservations.clear()
        self._removed.clear()
        self._posted.clear()

    def _found(self, sql: sqlite3.Connection, project: str, ids: set[str]) -> list[Held]:
        kept = self._reservations
        found = [kept[project, name] for name in ids if (project, name) in kept]
        missing = ids - {held.reservation_id for held in found}
        loaded = pages.load_reservations(sql, project, missing) if missing else []
        kept |= {(project, held.reservation_id): held for held in loaded if held.live}
        return found + loaded
