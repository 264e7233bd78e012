"""Looks through the ledger after a history: what is held, what is posted, what agents have told."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from coord.v1 import ledger_pb2

_TASK = int(ledger_pb2.SCOPE_KIND_TASK)
_Key = tuple[int, str]


def wrong(state: Path, told: Path, completed: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the money once all tasks have ended.

    Args:
        state: The folder of the services.
        told: Where agents have noted each cost before they told of it, a line of JSON for each.
        completed: The fencing token of the attempt that completed each task.
    """
    with closing(sqlite3.connect(f"file:{state}/ledger/ledger.db?mode=ro", uri=True)) as sql:
        posted = _posted(sql)
        problems = [*_open(sql), *_unbalanced(sql, posted)]
    return [*problems, *_misbooked(posted, told, completed)]


def _posted(sql: sqlite3.Connection) -> Counter[_Key]:
    posted: Counter[_Key] = Counter()
    for (body,) in sql.execute("SELECT body FROM entries"):
        entry = ledger_pb2.LedgerEntry.FromString(body)
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
