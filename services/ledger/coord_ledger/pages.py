"""Moves parts of a project's books between SQLite and memory, each table in one statement."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from coord.times import timestamp_ns
from coord.v1 import ledger_pb2

from coord_ledger.account import Account, Held, Key, Owned, keys
from coord_ledger.caps import Cap

MIGRATIONS = (
    """
    CREATE TABLE scopes (
        project TEXT NOT NULL,
        kind INTEGER NOT NULL,
        id TEXT NOT NULL,
        currency TEXT NOT NULL,
        posted INTEGER NOT NULL,
        pending INTEGER NOT NULL CHECK (pending >= 0),
        cap INTEGER,
        warn INTEGER,
        warned INTEGER NOT NULL,
        exceeded INTEGER NOT NULL,
        PRIMARY KEY (project, kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reservations (
        project TEXT NOT NULL,
        reservation_id TEXT NOT NULL,
        asked BLOB NOT NULL,
        amount INTEGER NOT NULL,
        held INTEGER NOT NULL CHECK (held >= 0),
        drawn INTEGER NOT NULL,
        expires_ns INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('HELD', 'SETTLED', 'RELEASED', 'EXPIRED')),
        actual INTEGER,
        PRIMARY KEY (project, reservation_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reservations_due ON reservations (expires_ns) WHERE state = 'HELD';
    CREATE TABLE entries (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (project, entry_id)
    ) STRICT;
    CREATE TABLE entry_scopes (
        project TEXT NOT NULL,
        kind INTEGER NOT NULL,
        id TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (project, kind, id, number)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- `thresholds` and `told` are JSON lists; what was told as a warning before is told no more.
    CREATE TABLE budgets (
        project TEXT NOT NULL,
        kind INTEGER NOT NULL,
        id TEXT NOT NULL,
        time_window INTEGER NOT NULL,
        most INTEGER NOT NULL,
        thresholds TEXT NOT NULL,
        posted INTEGER NOT NULL,
        began_ns INTEGER NOT NULL,
        told TEXT NOT NULL,
        exceeded INTEGER NOT NULL,
        PRIMARY KEY (project, kind, id, time_window)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO budgets
        SELECT project, kind, id, 1, cap, '[0.8]', posted, 0, iif(warned, '[0.8]', '[]'), exceeded
        FROM scopes WHERE cap IS NOT NULL;
    ALTER TABLE scopes DROP COLUMN cap;
    ALTER TABLE scopes DROP COLUMN warn;
    ALTER TABLE scopes DROP COLUMN warned;
    ALTER TABLE scopes DROP COLUMN exceeded;
    """,
    """
    -- Entries that follow one another and count for the same scope are one row of it.
    CREATE TABLE entry_runs (
        project TEXT NOT NULL,
        kind INTEGER NOT NULL,
        id TEXT NOT NULL,
        last INTEGER NOT NULL,
        first INTEGER NOT NULL,
        PRIMARY KEY (project, kind, id, last)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO entry_runs SELECT project, kind, id, number, number FROM entry_scopes;
    DROP TABLE entry_scopes;
    """,
)

_ACCOUNTS = """
SELECT scopes.kind, scopes.id, currency, scopes.posted, pending,
    time_window, most, thresholds, budgets.posted, began_ns, told, exceeded
FROM json_each(?) AS wanted CROSS JOIN scopes
LEFT JOIN budgets ON budgets.project = scopes.project AND budgets.kind = scopes.kind
    AND budgets.id = scopes.id
WHERE scopes.project = json_extract(wanted.value, '$[0]')
    AND scopes.kind = json_extract(wanted.value, '$[1]')
    AND scopes.id = json_extract(wanted.value, '$[2]')
"""
_SHOWN = """
SELECT project, kind, id FROM scopes WHERE kind != ?
"""
_CAPPED = """
SELECT DISTINCT kind, id FROM budgets
WHERE project IN ('', ?) AND (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?
"""
_NEWEST = """
SELECT body FROM entry_runs CROSS JOIN entries ON number BETWEEN first AND last
WHERE entry_runs.project = ? AND kind = ? AND id = ? ORDER BY last DESC, number DESC
"""
_RESERVATIONS = """
SELECT reservation_id, asked, amount, held, drawn, expires_ns, state, actual
FROM json_each(?2) AS wanted CROSS JOIN reservations
WHERE project = ?1 AND reservation_id = wanted.value
"""
_DUE = """
SELECT project, reservation_id FROM reservations
WHERE state = 'HELD' AND expires_ns <= ? ORDER BY expires_ns LIMIT ?
"""
_CHANGE = """
UPDATE reservations SET held = ?, drawn = ?, expires_ns = ?, state = ?, actual = ?
WHERE project = ? AND reservation_id = ?
"""
_ENTRIES = """
SELECT entry_id, body FROM json_each(?2) AS wanted CROSS JOIN entries
WHERE project = ?1 AND entry_id = wanted.value
"""


class Entry(NamedTuple):
    """An entry: its scopes, and the whole of it, serialised."""

    scopes: Sequence[Key]
    body: bytes

    @property
    def message(self) -> ledger_pb2.LedgerEntry:
        """The whole of it."""
        return ledger_pb2.LedgerEntry.FromString(self.body)


def load_accounts(sql: sqlite3.Connection, project: str, wanted: Collection[Key]) -> list[Account]:
    """Return those of the scopes that were used before."""
    values = (json.dumps([owned(project, key) for key in wanted]),)
    found: dict[Key, Account] = {}
    for kind, name, currency, posted, pending, window, *cap in sql.execute(_ACCOUNTS, values):
        key = (kind, name)
        account = found.setdefault(key, Account(key, currency, posted, pending))
        if window is not None:
            account.caps[window] = _cap(window, cap)
    return list(found.values())


def load_shown(sql: sqlite3.Connection) -> dict[Owned, Account]:
    """Return all scopes but those of tasks, of which there are many."""
    rows = sql.execute(_SHOWN, (ledger_pb2.SCOPE_KIND_TASK,)).fetchall()
    return {
        owned(project, account.key): account
        for project, kind, name in rows
        for account in load_accounts(sql, project, [(kind, name)])
    }


def load_capped(sql: sqlite3.Connection, project: str, after: Key, count_max: int) -> list[Account]:
    """Return the scopes with a cap that come after one, by kind and id, those of accounts too."""
    wanted = [(kind, name) for kind, name in sql.execute(_CAPPED, (project, *after, count_max))]
    return sorted(load_accounts(sql, project, wanted), key=lambda account: account.key)


def projects(sql: sqlite3.Connection) -> list[str]:
    """Return the projects that have scopes of their own."""
    return [name for (name,) in sql.execute("SELECT DISTINCT project FROM scopes") if name]


def owned(project: str, key: Key) -> Owned:
    """Return a scope with whose it is: an account is no project's alone."""
    return ("" if key[0] == ledger_pb2.SCOPE_KIND_ACCOUNT else project, *key)


def posted_since(sql: sqlite3.Connection, project: str, key: Key, began_ns: int) -> int:
    """Return what was posted to a scope from a time on."""
    total = 0
    for (body,) in sql.execute(_NEWEST, owned(project, key)):
        entry = ledger_pb2.LedgerEntry.FromString(body)
        if timestamp_ns(entry.posted_at) < began_ns:
            break
        total += entry.amount.nanos
    return total


def load_reservations(sql: sqlite3.Connection, project: str, ids: Collection[str]) -> list[Held]:
    """Return those of the reservations that are there."""
    return [_held(row) for row in sql.execute(_RESERVATIONS, (project, json.dumps(list(ids))))]


def load_due(sql: sqlite3.Connection, now_ns: int, count_max: int) -> dict[str, list[str]]:
    """Return the ids of reservations that are due, by project."""
    found: dict[str, list[str]] = {}
    for project, name in sql.execute(_DUE, (now_ns, count_max)):
        found.setdefault(project, []).append(name)
    return found


def load_entries(
    sql: sqlite3.Connection, project: str, ids: Collection[str]
) -> dict[str, ledger_pb2.LedgerEntry]:
    """Return those of the entries that are there."""
    rows = sql.execute(_ENTRIES, (project, json.dumps(list(ids))))
    return {entry_id: ledger_pb2.LedgerEntry.FromString(body) for entry_id, body in rows}


def save_accounts(sql: sqlite3.Connection, accounts: Mapping[Owned, Account]) -> None:
    """Write scopes and their caps."""
    rows = [(*key, one.currency, one.posted, one.pending) for key, one in accounts.items()]
    sql.executemany("INSERT OR REPLACE INTO scopes VALUES (?, ?, ?, ?, ?, ?)", rows)
    caps = [
        (*key, *_cap_row(cap)) for key, account in accounts.items() for cap in account.caps.values()
    ]
    if caps:
        statement = "INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        sql.executemany(statement, caps)


def remove_caps(sql: sqlite3.Connection, removed: Iterable[tuple[Owned, int]]) -> None:
    """Remove caps, each named by its scope and its window."""
    statement = "DELETE FROM budgets WHERE project = ? AND kind = ? AND id = ? AND time_window = ?"
    sql.executemany(statement, [(*key, window) for key, window in removed])


def save_reservations(
    sql: sqlite3.Connection, reservations: Mapping[tuple[str, str], Held]
) -> None:
    """Write reservations: all of each that is new, of the others what can change."""
    new = [(*key, *_held_row(one)) for key, one in reservations.items() if not one.stored]
    sql.executemany("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
    known = [
        (one.held, one.drawn, one.expires_ns, one.state, one.actual, *key)
        for key, one in reservations.items()
        if one.stored
    ]
    sql.executemany(_CHANGE, known)


def append_entries(sql: sqlite3.Connection, entries: Mapping[tuple[str, str], Entry]) -> None:
    """Write new entries by project and id, in the order in which they were posted."""
    if not entries:
        return
    last: int = sql.execute("SELECT coalesce(max(number), 0) FROM entries").fetchone()[0]
    numbered = list(enumerate(entries.items(), last + 1))
    sql.executemany(
        "INSERT INTO entries VALUES (?, ?, ?, ?)",
        [(number, *key, entry.body) for number, (key, entry) in numbered],
    )
    sql.executemany("INSERT INTO entry_runs VALUES (?, ?, ?, ?, ?)", _runs(numbered))


def _runs(numbered: Iterable[tuple[int, tuple[tuple[str, str], Entry]]]) -> list[list[Any]]:
    """Return a row for each scope and entries that follow one another and count for it."""
    rows: list[list[Any]] = []
    newest: dict[Owned, list[Any]] = {}
    for (project, scopes), run in groupby(numbered, lambda one: (one[1][0][0], one[1][1].scopes)):
        numbers = [number for number, _ in run]
        for scope in scopes:
            place = owned(project, scope)
            row = newest.get(place)
            if row is None or row[3] != numbers[0] - 1:
                row = newest[place] = [*place, 0, numbers[0]]
                rows.append(row)
            row[3] = numbers[-1]
    return rows


def _held(row: Iterable[Any]) -> Held:
    name, asked, *rest = row
    request = ledger_pb2.ReservationRequest.FromString(asked)
    scopes, currency = keys(request.scopes), request.amount.currency
    held = Held(name, asked, scopes, currency, request.within, *rest)
    held.stored = True
    return held


def _held_row(held: Held) -> tuple[object, ...]:
    amounts = (held.amount, held.held, held.drawn, held.expires_ns, held.state, held.actual)
    return (held.asked, *amounts)


def _cap(window: ledger_pb2.BudgetWindow, columns: Sequence[Any]) -> Cap:
    most, thresholds, posted, began_ns, told, exceeded = columns
    shares, known = tuple(json.loads(thresholds)), set(json.loads(told))
    return Cap(window, most, shares, posted, began_ns, known, bool(exceeded))


def _cap_row(cap: Cap) -> tuple[object, ...]:
    shares, told = json.dumps(cap.thresholds), json.dumps(sorted(cap.told))
    return (cap.window, cap.most, shares, cap.posted, cap.began_ns, told, int(cap.exceeded))
