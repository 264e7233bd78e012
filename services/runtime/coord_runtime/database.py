"""SQLite with group commit: one writer, one fsync for all that waits, replies after the commit.

Operations that arrive while a commit is under way run together in the next transaction, each in its
own savepoint: one that fails is rolled back alone. The idea is old (Gray and Reuter, "Transaction
Processing", 1993, section 9.4); the savepoints keep the operations apart.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import structlog
from coord.environment import Environment
from coord.errors import CoordError, invalid_argument, unavailable
from coord.times import SECOND, timestamp
from google.protobuf.message import Message

from coord_runtime.calls import Once

T = TypeVar("T")
E = TypeVar("E", bound=Message)

_GROUP_MAX = 512
_EVENTS_PAGE = 500
_REPLY_KEPT_NS = 24 * 3600 * SECOND
_REPLY_SWEEP_NS = 600 * SECOND

_RUNTIME_MIGRATIONS = (
    """
    CREATE TABLE events (
        project TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (project, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE replies (
        project TEXT NOT NULL,
        caller TEXT NOT NULL,
        method TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        body BLOB NOT NULL,
        replied_ns INTEGER NOT NULL,
        PRIMARY KEY (project, caller, method, request_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replies_by_age ON replies (replied_ns);
    """,
)

log = structlog.get_logger(__name__)


class Transaction:
    """What an operation may use while it runs.

    Attributes:
        sql: The connection. Use `execute` and `executemany` only.
        now_ns: The wall clock at the start of the operation.
    """

    def __init__(self, sql: sqlite3.Connection, now_ns: int, sequences: "_Sequences") -> None:
        self.sql = sql
        self.now_ns = now_ns
        self._sequences = sequences
        self.events: list[tuple[str, int, bytes]] = []

    def emit(self, project: str, event: Any) -> int:
        """Write an event with the change that it tells of; return its number.

        Args:
            project: Whose event.
            event: The message; number and time of its `meta` are filled in here.
        """
        sequence = self._sequences.next(self.sql, project)
        event.meta.sequence = sequence
        event.meta.occurred_at.CopyFrom(timestamp(self.now_ns))
        self.events.append((project, sequence, event.SerializeToString()))
        return sequence


class _Sequences:
    """The last event number of each project, kept in step with the transaction."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def next(self, sql: sqlite3.Connection, project: str) -> int:
        if project not in self._last:
            query = "SELECT coalesce(max(sequence), 0) FROM events WHERE project = ?"
            self._last[project] = sql.execute(query, (project,)).fetchone()[0]
        self._last[project] += 1
        return self._last[project]

    def mark(self) -> dict[str, int]:
        return dict(self._last)

    def reset(self, mark: dict[str, int]) -> None:
        self._last = mark


@dataclass
class _Item(Generic[T]):
    operation: Callable[[Transaction], T]
    once: Once | None
    future: "asyncio.Future[T]"
    result: T | None = None
    error: BaseException | None = None


@dataclass
class Options:
    """How a database is opened.

    Attributes:
        environment: Time and chance.
        inline: Run the writer on the event loop, as simulations do.
        synchronous: Sync each commit to disk. Off only to show that tests notice.
    """

    environment: Environment
    inline: bool = False
    synchronous: bool = True
    migrations: Sequence[str] = field(default_factory=tuple)


class Database:
    """One SQLite file with one writer, an event log and remembered replies."""

    def __init__(self, path: Path, options: Options) -> None:
        self._environment = options.environment
        self._inline = options.inline
        self._loop = asyncio.get_running_loop()
        self._sql = _open_writer(path, synchronous=options.synchronous)
        _migrate(self._sql, "runtime", _RUNTIME_MIGRATIONS)
        _migrate(self._sql, "service", options.migrations)
        self._reader = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._sequences = _Sequences()
        # A dict, not a set: a simulation wakes them in the same order each time.
        self._watchers: dict[asyncio.Event, None] = {}
        self._swept_ns = 0
        self._closed = False
        self._pending: list[_Item[Any]] = []
        self._queue: queue.SimpleQueue[_Item[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"writer-{path.stem}", daemon=True)
        if not self._inline:
            self._thread.start()

    async def write(self, operation: Callable[[Transaction], T], once: Once | None = None) -> T:
        """Run `operation` in a transaction and return its result once that is on disk.

        A cancelled caller does not undo what was handed in.

        Args:
            operation: Runs on the writer; must be quick and must not wait. What it raises is
                raised here, after it was rolled back.
            once: With it, `operation` returns the response, and a repetition of the call gets the
                stored one.

        Raises:
            CoordError: UNAVAILABLE with reason STORE_FAILED where the disk refuses;
                INVALID_ARGUMENT with reason REQUEST_ID_REUSED.
        """
        if self._closed:
            raise _store_failed("the store is closed")
        item = _Item(operation, once, self._loop.create_future())
        if self._inline:
            self._pending.append(item)
            if len(self._pending) == 1:
                self._loop.call_soon(self._run_pending)
        else:
            self._queue.put(item)
        result: T = await item.future
        return result

    def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `operation` reads of the last committed state.

        Raises:
            CoordError: UNAVAILABLE with reason STORE_FAILED where the database is closed.
        """
        if self._closed:
            raise _store_failed("the store is closed")
        return operation(self._reader)

    async def watch(self, project: str, after: int, event_class: type[E]) -> AsyncIterator[list[E]]:
        """Yield the project's events after a number: those stored, then new ones as they come.

        Ends when the database is closed.

        Args:
            project: Whose events.
            after: 0 for all events, -1 for those from now on.
            event_class: Class of the events.
        """
        if after < 0 and not self._closed:
            after = self._last_sequence(project)
        wake = asyncio.Event()
        self._watchers[wake] = None
        try:
            while not self._closed:
                wake.clear()
                rows = self._events(project, after)
                if rows:
                    after = rows[-1][0]
                    yield [event_class.FromString(body) for _, body in rows]
                else:
                    await wake.wait()
        finally:
            self._watchers.pop(wake, None)

    async def close(self) -> None:
        """Finish what was handed in, then close the file."""
        if self._closed:
            return
        self._closed = True
        self._wake_watchers()
        if self._inline:
            self._run_pending()
        else:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._sql.close()

    def crash(self) -> None:
        """Drop what is not committed, as a kill would. For simulations."""
        self._closed = True
        self._pending.clear()
        self._reader.close()
        self._sql.close()

    def _last_sequence(self, project: str) -> int:
        query = "SELECT coalesce(max(sequence), 0) FROM events WHERE project = ?"
        return int(self._reader.execute(query, (project,)).fetchone()[0])

    def _events(self, project: str, after: int) -> list[tuple[int, bytes]]:
        query = (
            "SELECT sequence, body FROM events WHERE project = ? AND sequence > ?"
            " ORDER BY sequence LIMIT ?"
        )
        return self._reader.execute(query, (project, after, _EVENTS_PAGE)).fetchall()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group, closing = self._collect(first)
            self._run_group(group)
            with suppress(RuntimeError):  # The loop is gone: nobody waits for the answers.
                self._loop.call_soon_threadsafe(self._finish, group)
            if closing:
                return

    def _collect(self, first: _Item[Any]) -> tuple[list[_Item[Any]], bool]:
        group = [first]
        with suppress(queue.Empty):
            while len(group) < _GROUP_MAX:
                item = self._queue.get_nowait()
                if item is None:
                    return group, True
                group.append(item)
        return group, False

    def _run_pending(self) -> None:
        group, self._pending = self._pending, []
        if group:
            self._run_group(group)
            self._finish(group)

    def _run_group(self, group: list[_Item[Any]]) -> None:
        mark = self._sequences.mark()
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            events: list[tuple[str, int, bytes]] = []
            for item in group:
                events += self._run_item(item)
            if events:
                self._sql.executemany("INSERT INTO events VALUES (?, ?, ?)", events)
            self._sql.execute("COMMIT")
        except sqlite3.Error as error:
            log.exception("commit failed", operations=len(group))
            self._sequences.reset(mark)
            self._abandon(group, error)

    def _run_item(self, item: _Item[Any]) -> list[tuple[str, int, bytes]]:
        transaction = Transaction(self._sql, self._environment.now_ns(), self._sequences)
        mark = self._sequences.mark()
        self._sql.execute("SAVEPOINT operation")
        try:
            item.result = self._perform(item, transaction)
        except Exception as error:
            if not self._sql.in_transaction:
                message = "SQLite has given up the whole transaction"
                raise sqlite3.OperationalError(message) from error
            item.error = error
            self._sequences.reset(mark)
            self._sql.execute("ROLLBACK TO operation")
            transaction.events.clear()
        self._sql.execute("RELEASE operation")
        return transaction.events

    def _perform(self, item: _Item[Any], transaction: Transaction) -> Any:
        if item.once is None:
            return item.operation(transaction)
        stored = _stored_reply(self._sql, item.once)
        if stored is not None:
            return stored
        self._sweep_replies(transaction.now_ns)
        response = item.operation(transaction)
        row = (*item.once.key, item.once.digest, response.SerializeToString(), transaction.now_ns)
        self._sql.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return response

    def _sweep_replies(self, now_ns: int) -> None:
        if now_ns - self._swept_ns > _REPLY_SWEEP_NS:
            self._swept_ns = now_ns
            self._sql.execute(
                "DELETE FROM replies WHERE replied_ns < ?", (now_ns - _REPLY_KEPT_NS,)
            )

    def _abandon(self, group: list[_Item[Any]], error: sqlite3.Error) -> None:
        with suppress(sqlite3.Error):
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
        for item in group:
            item.result = None
            item.error = _store_failed(str(error))

    def _finish(self, group: list[_Item[Any]]) -> None:
        for item in group:
            if item.future.done():  # Its caller was cancelled.
                continue
            if item.error is None:
                item.future.set_result(item.result)
            else:
                item.future.set_exception(item.error)
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        for wake in self._watchers:
            wake.set()


def _open_writer(path: Path, *, synchronous: bool) -> sqlite3.Connection:
    sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute(f"PRAGMA synchronous = {'FULL' if synchronous else 'OFF'}")
    return sql


def _migrate(sql: sqlite3.Connection, name: str, migrations: Sequence[str]) -> None:
    sql.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions"
        " (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"
    )
    row = sql.execute("SELECT version FROM schema_versions WHERE name = ?", (name,)).fetchone()
    version = row[0] if row else 0
    if version > len(migrations):
        raise _store_failed(
            f"the store has schema version {version}, this program knows {len(migrations)}:"
            " it was written by a newer version of Coord; use that one"
        )
    for number, script in enumerate(migrations[version:], version + 1):
        sql.executescript(f"BEGIN; {script}")
        sql.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (name, number))
        sql.execute("COMMIT")


def _stored_reply(sql: sqlite3.Connection, once: Once) -> Message | None:
    query = (
        "SELECT digest, body FROM replies"
        " WHERE project = ? AND caller = ? AND method = ? AND request_id = ?"
    )
    row = cast("tuple[bytes, bytes] | None", sql.execute(query, once.key).fetchone())
    if row is None:
        return None
    if row[0] != once.digest:
        raise invalid_argument(
            "REQUEST_ID_REUSED",
            f"request_id {once.key[3]!r} was used for another request; choose a new one",
        )
    return once.response.FromString(row[1])


def _store_failed(message: str) -> CoordError:
    return unavailable(
        "STORE_FAILED", f"the store cannot be used: {message}", retry_after_ns=SECOND
    )
