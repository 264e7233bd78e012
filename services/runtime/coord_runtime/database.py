"""SQLite with group commit: one writer, one fsync for all that waits, replies after the commit.

Operations run on the event loop; only the commit, which waits for the disk, has a thread. What
arrives meanwhile runs in the next transaction, each operation in its own savepoint: one that fails
is rolled back alone. Group commit is old (Gray and Reuter, "Transaction Processing", 1993, section
9.4). Operations on a thread of their own were slower: at every step of every statement they
contended with the loop for the interpreter.
"""

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import SECOND, timestamp
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from coord_runtime.calls import Once
from coord_runtime.event_log import EventLog, events_after, last_sequence
from coord_runtime.migrations import migrate, store_failed
from coord_runtime.replies import Replies, stored_reply

T = TypeVar("T")
E = TypeVar("E", bound=Message)

_GROUP_MAX = 512
# How long operations run before the loop does something else.
_GROUP_NS_MAX = SECOND // 200

_RUNTIME_MIGRATIONS = (
    """
    -- `last` is the number of the page's last event.
    CREATE TABLE event_pages (
        project TEXT NOT NULL,
        last INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (project, last)
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
        committed: What to call once the operation is on disk, before its caller has the result.
    """

    def __init__(self, sql: sqlite3.Connection, now_ns: int, events: EventLog) -> None:
        self.sql = sql
        self.now_ns = now_ns
        self.committed: list[Callable[[], object]] = []
        self._events = events
        self._now: Timestamp | None = None

    def emit(self, project: str, event: Any) -> int:
        """Write an event with the change that it tells of; return its number.

        Args:
            project: Whose event.
            event: The message; number and time of its `meta` need not be filled in. The caller may
                make the next one of it.
        """
        return self._events.append(project, event, self._occurred_at())

    def emit_all(
        self, project: str, event: Any, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Write an event for each row: `event`, but for the fields that are named.

        Args:
            project: Whose events.
            event: What is common to all.
            names: Fields that are numbers or texts, with dots between the parts of a path.
            rows: Their values, for each event.
        """
        self._events.append_all(project, event, names, rows, self._occurred_at())

    def _occurred_at(self) -> Timestamp:
        if self._now is None:
            self._now = timestamp(self.now_ns)
        return self._now


@dataclass
class _Item(Generic[T]):
    operation: Callable[[Transaction], T]
    once: Once | None
    future: "asyncio.Future[T]"
    result: T | None = None
    error: BaseException | None = None
    committed: list[Callable[[], object]] = field(default_factory=list)


@dataclass
class _Group:
    mark: dict[str, int]
    items: list[_Item[Any]] = field(default_factory=list)


class WorkingSet(Protocol):
    """What operations keep and change in memory; all that share a commit are written at once.

    An operation on it writes nothing itself. It raises `CoordError` before it changes anything; any
    other error leaves the memory half changed, and takes all operations of its commit with it.
    """

    def flush(self, sql: sqlite3.Connection) -> None:
        """Write what was changed; a commit follows."""

    def forget(self) -> None:
        """Drop everything: what was changed is not on disk."""


@dataclass
class Options:
    """How a database is opened.

    Attributes:
        environment: Time and chance.
        inline: Commit on the event loop, as simulations do.
        synchronous: Sync each commit to disk. Off only to show that tests notice.
        migrations: The schema's versions, each a script that leads to the next.
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
        migrate(self._sql, "runtime", _RUNTIME_MIGRATIONS)
        migrate(self._sql, "service", options.migrations)
        self._reader = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._events = EventLog(self._sql)
        self._replies = Replies(self._sql)
        self._working_set: WorkingSet | None = None
        # A dict, not a set: a simulation wakes them in the same order each time.
        self._watchers: dict[asyncio.Event, None] = {}
        self._closed = False
        self._waiting: deque[_Item[Any]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._commits: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"commit-{path.stem}", daemon=True)
        if not self._inline:
            self._thread.start()

    def attach(self, working_set: WorkingSet) -> None:
        """Have operations change this, rather than write themselves."""
        self._working_set = working_set

    async def write(self, operation: Callable[[Transaction], T], once: Once | None = None) -> T:
        """Run `operation` in a transaction and return its result once that is on disk.

        A cancelled caller does not undo what was handed in.

        Args:
            operation: Runs on the event loop; must be quick. What it raises is raised here, after
                it was rolled back.
            once: With it, `operation` returns the response, and a repetition of the call gets the
                stored one.

        Raises:
            CoordError: UNAVAILABLE with reason STORE_FAILED where the disk refuses;
                INVALID_ARGUMENT with reason REQUEST_ID_REUSED.
        """
        if self._closed:
            raise store_failed("the store is closed")
        item = _Item(operation, once, self._loop.create_future())
        self._waiting.append(item)
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._run_group)
        result: T = await item.future
        return result

    def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `operation` reads of the last committed state.

        Raises:
            CoordError: UNAVAILABLE with reason STORE_FAILED where the database is closed.
        """
        if self._closed:
            raise store_failed("the store is closed")
        return operation(self._reader)

    def remembered(self, once: Once) -> Message | None:
        """Return the answer that a write has had before; None where it is new.

        Raises:
            CoordError: INVALID_ARGUMENT with reason REQUEST_ID_REUSED.
        """
        return self.read(lambda sql: stored_reply(sql, once))

    async def watch(self, project: str, after: int, event_class: type[E]) -> AsyncIterator[list[E]]:
        """Yield the project's events after a number: those stored, then new ones as they come.

        Ends when the database is closed.

        Args:
            project: Whose events.
            after: 0 for all events, -1 for those from now on.
            event_class: Class of the events.
        """
        if after < 0 and not self._closed:
            after = last_sequence(self._reader, project)
        wake = asyncio.Event()
        self._watchers[wake] = None
        try:
            while not self._closed:
                wake.clear()
                events = events_after(self._reader, project, after, event_class)
                if events:
                    after += len(events)
                    yield events
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
        await self._idle.wait()
        if not self._inline:
            self._commits.put(None)
            await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._sql.close()

    def crash(self) -> None:
        """Drop what is not committed, as a kill would. For simulations."""
        self._closed = True
        self._waiting.clear()
        self._reader.close()
        # A connection that somebody still reads from would hold its lock until that one is gone.
        self._sql.rollback()
        self._sql.close()

    def _run_group(self) -> None:
        if not self._waiting:  # Only after a crash.
            return
        group, written = _Group(self._events.mark()), self._sql.total_changes
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            self._run_items(group)
            if self._working_set:
                self._working_set.flush(self._sql)
            self._events.store()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are to hear of it.
            if not group.items:
                self._take(group)
            self._committed(group, error)
            return
        # What was only looked at waits for no disk.
        if self._inline or self._sql.total_changes == written:
            self._committed(group, self._commit())
        else:
            self._commits.put(group)

    def _take(self, group: _Group) -> _Item[Any]:
        """Move the item that waits longest to the group."""
        item = self._waiting.popleft()
        group.items.append(item)
        return item

    def _run_items(self, group: _Group) -> None:
        until_ns = self._environment.monotonic_ns() + _GROUP_NS_MAX
        while self._waiting and len(group.items) < _GROUP_MAX:
            self._run_item(self._take(group))
            if self._environment.monotonic_ns() > until_ns:
                return

    def _run_item(self, item: _Item[Any]) -> None:
        transaction = Transaction(self._sql, self._environment.now_ns(), self._events)
        if self._working_set is None:
            self._run_in_savepoint(item, transaction)
            return
        try:
            item.result = self._perform(item, transaction)
            item.committed = transaction.committed
        except CoordError as error:
            item.error = error

    def _run_in_savepoint(self, item: _Item[Any], transaction: Transaction) -> None:
        mark = self._events.mark()
        self._sql.execute("SAVEPOINT operation")
        try:
            item.result = self._perform(item, transaction)
            item.committed = transaction.committed
        except Exception as error:
            if not self._sql.in_transaction:
                message = "SQLite has given up the whole transaction"
                raise sqlite3.OperationalError(message) from error
            item.error = error
            self._events.reset(mark)
            self._sql.execute("ROLLBACK TO operation")
        self._sql.execute("RELEASE operation")

    def _perform(self, item: _Item[Any], transaction: Transaction) -> Any:
        if item.once is None:
            return item.operation(transaction)
        stored = stored_reply(self._sql, item.once)
        if stored is not None:
            return stored
        response = item.operation(transaction)
        self._replies.keep(item.once, response, transaction.now_ns)
        return response

    def _work(self) -> None:
        while (group := self._commits.get()) is not None:
            error = self._commit()
            with suppress(RuntimeError):  # The loop is gone: nobody waits for the answers.
                self._loop.call_soon_threadsafe(self._committed, group, error)

    def _commit(self) -> sqlite3.Error | None:
        try:
            self._sql.execute("COMMIT")
        except sqlite3.Error as error:
            return error
        return None

    def _committed(self, group: _Group, error: Exception | None) -> None:
        if error is not None:
            self._undo(group, error)
        for item in group.items:
            for call in item.committed:
                call()
            if item.future.done():  # Its caller was cancelled.
                continue
            if item.error is None:
                item.future.set_result(item.result)
            else:
                item.future.set_exception(item.error)
        self._wake_watchers()
        if self._waiting:
            self._loop.call_soon(self._run_group)
        else:
            self._idle.set()

    def _undo(self, group: _Group, error: Exception) -> None:
        log.error("commit failed", operations=len(group.items), exc_info=error)
        self._events.reset(group.mark)
        if self._working_set:
            self._working_set.forget()
        with suppress(sqlite3.Error):
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
        for item in group.items:
            item.result = None
            item.error = store_failed(str(error))
            item.committed.clear()

    def _wake_watchers(self) -> None:
        for wake in self._watchers:
            wake.set()


def _open_writer(path: Path, *, synchronous: bool) -> sqlite3.Connection:
    # Whoever else writes is a mistake, and waiting for it would hold up the event loop.
    sql = sqlite3.connect(path, timeout=0.1, isolation_level=None, check_same_thread=False)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute(f"PRAGMA synchronous = {'FULL' if synchronous else 'OFF'}")
    return sql
