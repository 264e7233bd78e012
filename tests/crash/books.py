"""Looks through the ledger after a history: what is held, posted and capped, what agents told."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from math import inf
from pathlib import Path

from coord.times import timestamp_ns
from coord.v1 import ledger_pb2
from coord_ledger.books import TTL_DEFAULT_NS

_TASK = int(ledger_pb2.SCOPE_KIND_TASK)
_Key = tuple[int, str]
# Those for ever: no others are set.
_CAPS = "SELECT kind, id, most FROM budgets"
_RESERVATIONS = "SELECT reservation_id, asked, amount, expires_ns FROM reservations"


def wrong(state: Path, told: Path, completed: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the money once all tasks have ended.

    Args:
        state: The folder of the services.
        told: Where agents have noted each cost before they told of it, a line of JSON for each.
        completed: The fencing token of the attempt that completed each task.
    """
    with closing(sqlite3.connect(f"file:{state}/ledger/ledger.db?mode=ro", uri=True)) as sql:
        entries = _entries(sql)
        posted = _posted(entries)
        problems = [*_open(sql), *_unbalanced(sql, posted), *_over_caps(sql, entries)]
    return [*problems, *_misbooked(posted, told, completed)]


def _entries(sql: sqlite3.Connection) -> list[ledger_pb2.LedgerEntry]:
    rows = sql.execute("SELECT body FROM entries ORDER BY number")
    return [ledger_pb2.LedgerEntry.FromString(body) for (body,) in rows]


def _posted(entries: Iterable[ledger_pb2.LedgerEntry]) -> Counter[_Key]:
    posted: Counter[_Key] = Counter()
    for entry in entries:
        for scope in entry.scopes:
            posted[int(scope.kind), scope.id] += entry.amount.nanos
    return posted


def _open(sql: sqlite3.Connection) -> Iterator[str]:
    for name, held in sql.execute(
        "SELECT reservation_id, held FROM reservations WHERE state = 'HELD'"
    ):
        yield f"reservation {name} still holds {held}"


def _unbalanced(sql: sqlite3.Connection, posted: Counter[_Key]) -> Iterator[str]:
    for kind, name, balance, pending in sql.execute("SELECT kind, id, posted, pending FROM scopes"):
        if balance != posted[kind, name]:
            yield f"entries of {name} come to {posted[kind, name]}, its balance is {balance}"
        if pending:
            yield f"of {name} {pending} is still pending"


def _over_caps(sql: sqlite3.Connection, entries: Sequence[ledger_pb2.LedgerEntry]) -> Iterator[str]:
    """Tell of reservations that a cap had no room for, next to what was posted before.

    So a cap is passed only by what was spent beyond reservations. When one was made is known from
    when it expires, unless it was extended, or the clock went back before anything was spent on it.
    """
    caps = {(kind, name): most for kind, name, most in sql.execute(_CAPS)}
    for name, asked, amount, expires_ns in sql.execute(_RESERVATIONS):
        made_ns = expires_ns - TTL_DEFAULT_NS
        first = next((i for i, entry in enumerate(entries) if entry.reservation_id == name), None)
        if first is None or timestamp_ns(entries[first].posted_at) < made_ns:
            continue
        before = _posted(one for one in entries[:first] if timestamp_ns(one.posted_at) < made_ns)
        for scope in ledger_pb2.ReservationRequest.FromString(asked).scopes:
            key = int(scope.kind), scope.id
            if before[key] + amount > caps.get(key, inf):
                yield f"{name} got {amount} of {scope.id}'s {caps[key]}, {before[key]} were spent"


def _misbooked(posted: Counter[_Key], told: Path, completed: Mapping[str, int]) -> Iterator[str]:
    """Tell of tasks to which more is booked than was told, or less than a done attempt has told.

    What an agent notes right before its worker is killed may be told to nobody.
    """
    most: Counter[str] = Counter()
    least: Counter[str] = Counter()
    for line in told.read_text().splitlines():
        cost = json.loads(line)
        most[cost["task"]] += cost["nanos"]
        if completed.get(cost["task"]) == cost["fencing_token"]:
            least[cost["task"]] += cost["nanos"]
    booked = {name: nanos for (kind, name), nanos in posted.items() if kind == _TASK}
    for task in sorted(most.keys() | booked.keys()):
        if not least[task] <= booked.get(task, 0) <= most[task]:
            yield (
                f"{task}: {booked.get(task, 0)} is booked, agents have told of {most[task]},"
                f" that of the attempt that is done of {least[task]}"
            )
