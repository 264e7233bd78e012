"""The events of each project: numbered without gaps, and stored in pages.

One row holds what one commit tells of a project, so that an event costs little more than its bytes.
A page is a row of serialised events, each after its length in 4 bytes, little-endian.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

E = TypeVar("E", bound=Message)

_PAGE_EVENTS_MAX = 500
_PAGES_READ = 8
_LENGTH_BYTES = 4


class EventLog:
    """Numbers events, and holds those that are not stored yet."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._last: dict[str, int] = {}
        self._new: dict[str, list[bytes]] = {}

    def append(self, project: str, event: Any, occurred_at: Timestamp) -> int:
        """Set number and time in an event's `meta`, and keep its bytes; return the number."""
        new = self._new.get(project)
        if new is None:
            new = self._new[project] = []
            self._last.setdefault(project, last_sequence(self._sql, project))
        meta = event.meta
        meta.sequence = self._last[project] = sequence = self._last[project] + 1
        meta.occurred_at.CopyFrom(occurred_at)
        new.append(event.SerializeToString())
        return sequence

    def mark(self) -> dict[str, int]:
        """Return the last numbers, for `reset`."""
        return dict(self._last)

    def reset(self, mark: dict[str, int]) -> None:
        """Forget what was appended since `mark` was taken: it is not to be stored."""
        for project, events in self._new.items():
            stored = self._last[project] - len(events)
            del events[max(mark.get(project, 0) - stored, 0) :]
        self._new = {project: events for project, events in self._new.items() if events}
        self._last = mark

    def store(self) -> None:
        """Write what was appended."""
        for project, events in self._new.items():
            last = self._last[project] - len(events)
            for begin in range(0, len(events), _PAGE_EVENTS_MAX):
                part = events[begin : begin + _PAGE_EVENTS_MAX]
                last += len(part)
                row = (project, last, _page_of(part))
                self._sql.execute("INSERT INTO event_pages VALUES (?, ?, ?)", row)
        self._new.clear()


def events_of(page: bytes) -> Iterator[bytes]:
    """Yield the serialised events of a page."""
    at = 0
    while at < len(page):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(page[at:begin], "little")
        yield page[begin:at]


def last_sequence(sql: sqlite3.Connection, project: str) -> int:
    """Return the number of a project's last event that is stored; 0 where there is none."""
    query = "SELECT coalesce(max(last), 0) FROM event_pages WHERE project = ?"
    return int(sql.execute(query, (project,)).fetchone()[0])


def events_after(
    sql: sqlite3.Connection, project: str, after: int, event_class: type[E]
) -> list[E]:
    """Return the stored events that follow a number: some of them, in order."""
    query = (
        "SELECT last, body FROM event_pages WHERE project = ? AND last > ? ORDER BY last LIMIT ?"
    )
    found: list[E] = []
    for last, page in sql.execute(query, (project, after, _PAGES_READ)):
        events = list(events_of(page))
        known = max(after - (last - len(events)), 0)
        found += map(event_class.FromString, events[known:])
    return found


def _page_of(events: Iterable[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(_LENGTH_BYTES, "little") + one for one in events)
