"""The events of each project: numbered without gaps, and stored in pages.

One row holds what one commit tells of a project. Events that differ in a few fields only are stored
as one template and those fields: to tell of a task among a thousand costs little more than its id.
A page is a row of parts; a part is a serialised event and a JSON list, each after its length in 4
bytes, little-endian. The list has the names of fields, then their values for each event; where it
is empty, the event stands for itself.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

E = TypeVar("E", bound=Message)

_PAGE_EVENTS_MAX = 500
_PAGES_READ = 8
_LENGTH_BYTES = 4
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class _Part(NamedTuple):
    """Events that are not stored yet; `last` is the number of the last of them."""

    last: int
    body: bytes


class EventLog:
    """Numbers events, and holds those that are not stored yet."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._last: dict[str, int] = {}
        self._new: dict[str, list[_Part]] = {}

    def append(self, project: str, event: Any, occurred_at: Timestamp) -> int:
        """Set the time in an event's `meta`, and keep its bytes; return its number."""
        event.meta.occurred_at.CopyFrom(occurred_at)
        return self._append(project, 1, _sized(event.SerializeToString()) + _sized(b""))

    def append_all(
        self,
        project: str,
        event: Any,
        names: Sequence[str],
        rows: Sequence[Sequence[Any]],
        occurred_at: Timestamp,
    ) -> None:
        """Keep an event for each row: `event` with these fields, which are numbers or texts."""
        if len(rows) == 1:
            _fill(event, [name.split(".") for name in names], rows[0])
            self.append(project, event, occurred_at)
            return
        event.meta.occurred_at.CopyFrom(occurred_at)
        template = _sized(event.SerializeToString())
        for begin in range(0, len(rows), _PAGE_EVENTS_MAX):
            part = rows[begin : begin + _PAGE_EVENTS_MAX]
            rows_text = _JSON.encode([names, *part]).encode()
            self._append(project, len(part), template + _sized(rows_text))

    def mark(self) -> dict[str, int]:
        """Return the last numbers, for `reset`."""
        return dict(self._last)

    def reset(self, mark: dict[str, int]) -> None:
        """Forget what was appended since `mark` was taken: it is not to be stored."""
        for project, parts in self._new.items():
            parts[:] = [part for part in parts if part.last <= mark.get(project, 0)]
        self._new = {project: parts for project, parts in self._new.items() if parts}
        self._last = mark

    def store(self) -> None:
        """Write what was appended."""
        for project, parts in self._new.items():
            for _, page in groupby(parts, lambda part: part.last // _PAGE_EVENTS_MAX):
                lasts, bodies = zip(*page, strict=True)
                row = (project, lasts[-1], b"".join(bodies))
                self._sql.execute("INSERT INTO event_pages VALUES (?, ?, ?)", row)
        self._new.clear()

    def _append(self, project: str, events: int, body: bytes) -> int:
        new = self._new.get(project)
        if new is None:
            new = self._new[project] = []
            if project not in self._last:
                self._last[project] = last_sequence(self._sql, project)
        last = self._last[project] = self._last[project] + events
        new.append(_Part(last, body))
        return last


def events_of(last: int, page: bytes, event_class: type[E]) -> list[E]:
    """Return the events of a page, of which the last has the number `last`."""
    events = list(_unnumbered(page, event_class))
    for sequence, event in enumerate(events, last - len(events) + 1):
        event.meta.sequence = sequence  # type: ignore[attr-defined]  # each event has one
    return events


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
        events = events_of(last, page, event_class)
        found += events[max(after - (last - len(events)), 0) :]
    return found


def _unnumbered(page: bytes, event_class: type[E]) -> Iterator[E]:
    texts = _texts(page)
    for template, rows in zip(texts, texts, strict=True):
        if not rows:
            yield event_class.FromString(template)
            continue
        names, *values = json.loads(rows)
        paths = [name.split(".") for name in names]
        for row in values:
            event = event_class.FromString(template)
            _fill(event, paths, row)
            yield event


def _fill(event: Any, paths: Iterable[Sequence[str]], row: Iterable[Any]) -> None:
    for (*parts, name), value in zip(paths, row, strict=True):
        owner = event
        for part in parts:
            owner = getattr(owner, part)
        setattr(owner, name, value)


def _texts(page: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(page):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(page[at:begin], "little")
        yield page[begin:at]


def _sized(text: bytes) -> bytes:
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text
