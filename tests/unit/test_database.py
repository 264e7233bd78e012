"""The group-commit store."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest
from coord.environment import SYSTEM
from coord.errors import CoordError, invalid_argument
from coord.v1 import queue_pb2 as pb
from coord_runtime.database import Database, Options, Transaction

TABLE = ("CREATE TABLE numbers (number INTEGER PRIMARY KEY) STRICT",)


def opened(folder: Path, migrations: tuple[str, ...] = TABLE, *, inline: bool = False) -> Database:
    return Database(folder / "test.db", Options(SYSTEM, inline=inline, migrations=migrations))


def insert(number: int) -> Callable[[Transaction], int]:
    def operation(transaction: Transaction) -> int:
        transaction.sql.execute("INSERT INTO numbers VALUES (?)", (number,))
        transaction.emit("p", pb.QueueEvent(task_id=str(number)))
        return number

    return operation


def numbers(database: Database) -> list[int]:
    query = "SELECT number FROM numbers ORDER BY number"
    return [one for (one,) in database.read(lambda sql: sql.execute(query).fetchall())]


@pytest.mark.parametrize("inline", [False, True])
async def test_an_operation_that_fails_is_undone_alone(tmp_path: Path, inline: bool) -> None:
    database = opened(tmp_path, inline=inline)
    await database.write(insert(3))
    results = await asyncio.gather(
        *(database.write(insert(number)) for number in range(6)), return_exceptions=True
    )
    assert [type(result).__name__ for result in results].count("IntegrityError") == 1
    assert numbers(database) == [0, 1, 2, 3, 4, 5]
    await database.close()


@pytest.mark.parametrize("inline", [False, True])
async def test_events_are_numbered_without_gaps_also_after_failures(
    tmp_path: Path, inline: bool
) -> None:
    database = opened(tmp_path, inline=inline)
    await asyncio.gather(
        *(database.write(insert(number % 7)) for number in range(20)), return_exceptions=True
    )
    await database.close()
    database = opened(tmp_path, inline=inline)
    await database.write(insert(100))
    seen: list[pb.QueueEvent] = []
    async for events in database.watch("p", 0, pb.QueueEvent):
        seen += events
        if seen[-1].task_id == "100":
            break
    assert [event.meta.sequence for event in seen] == list(range(1, 9))
    assert len({event.task_id for event in seen}) == 8
    await database.close()


@pytest.mark.parametrize("after", [0, 1, 2, 700, 1_200])
async def test_events_of_one_kind_are_told_each_with_its_own_fields(
    tmp_path: Path, after: int
) -> None:
    def operation(transaction: Transaction) -> None:
        transaction.emit("p", pb.QueueEvent(message="first"))
        event = pb.QueueEvent(to_state=pb.TASK_STATE_ASSIGNED)
        rows = [(f"t{number}", number) for number in range(1_200)]
        transaction.emit_all("p", event, ("task_id", "fencing_token"), rows)
        transaction.emit("p", pb.QueueEvent(message="last"))

    def failing(transaction: Transaction) -> float:
        operation(transaction)
        return 1 / 0

    database = opened(tmp_path, inline=True)
    with pytest.raises(ZeroDivisionError):
        await database.write(failing)
    await database.write(operation)
    seen: list[pb.QueueEvent] = []
    async for events in database.watch("p", after, pb.QueueEvent):
        seen += events
        if seen[-1].message == "last":
            break
    await database.close()
    assert [event.meta.sequence for event in seen] == list(range(after + 1, 1_203))
    told = {(one.task_id, one.fencing_token, one.to_state) for one in seen if one.task_id}
    first = max(after - 1, 0)
    assert told == {(f"t{one}", one, pb.TASK_STATE_ASSIGNED) for one in range(first, 1_200)}
    assert all(one.meta.HasField("occurred_at") for one in seen)


@pytest.mark.parametrize("inline", [False, True])
async def test_a_first_operation_that_fails_after_its_event_holds_up_nobody(
    tmp_path: Path, inline: bool
) -> None:
    def failing(transaction: Transaction) -> int:
        transaction.emit("p", pb.QueueEvent(task_id="lost"))
        raise LookupError(transaction.now_ns)

    database = opened(tmp_path, inline=inline)
    with pytest.raises(LookupError):
        await asyncio.wait_for(database.write(failing), 60)
    await database.write(insert(1))
    (event,) = await anext(database.watch("p", 0, pb.QueueEvent))
    assert (event.meta.sequence, event.task_id) == (1, "1")
    await database.close()


class Sum:
    """A sum that is kept in memory."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int, error: Exception | None = None) -> Callable[[Transaction], int]:
        def operation(transaction: Transaction) -> int:
            if isinstance(error, CoordError):
                raise error
            self.total += number
            transaction.emit("p", pb.QueueEvent(task_id=str(number)))
            if error is not None:
                raise error
            return self.total

        return operation

    def flush(self, sql: sqlite3.Connection) -> None:
        sql.execute("INSERT INTO numbers VALUES (?)", (self.total,))

    def forget(self) -> None:
        self.total = 0


async def test_what_is_kept_in_memory_is_written_once_a_commit(tmp_path: Path) -> None:
    database, kept = opened(tmp_path), Sum()
    database.attach(kept)
    refused = kept.add(7, invalid_argument("NO", "no"))
    operations = [kept.add(1), refused, kept.add(2)]
    first, error, last = await asyncio.gather(
        *map(database.write, operations), return_exceptions=True
    )
    assert (first, last, numbers(database)) == (1, 3, [3])
    assert isinstance(error, CoordError)
    await database.close()


async def test_memory_that_is_half_changed_is_dropped_with_its_commit(tmp_path: Path) -> None:
    database, kept = opened(tmp_path), Sum()
    database.attach(kept)
    operations = [kept.add(1), kept.add(2, LookupError("broken")), kept.add(4)]
    results = await asyncio.gather(*map(database.write, operations), return_exceptions=True)
    assert [type(one) for one in results[:2]] == [CoordError, CoordError]
    assert results[2] == 4
    assert numbers(database) == [4]
    (event,) = await anext(database.watch("p", 0, pb.QueueEvent))
    assert (event.meta.sequence, event.task_id) == (1, "4")
    await database.close()


async def test_a_watch_from_now_on_sees_only_what_is_new(tmp_path: Path) -> None:
    database = opened(tmp_path)
    await database.write(insert(1))
    watch = database.watch("p", -1, pb.QueueEvent)
    following = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await database.write(insert(2))
    assert [event.task_id for event in await following] == ["2"]
    await database.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_crash_drops_what_is_not_committed_and_keeps_the_rest(tmp_path: Path) -> None:
    database = opened(tmp_path, inline=True)
    await database.write(insert(1))
    lost = asyncio.ensure_future(database.write(insert(2)))
    await asyncio.sleep(0)
    database.crash()
    lost.cancel()
    database = opened(tmp_path)
    assert numbers(database) == [1]
    await database.close()


async def test_a_crash_lets_go_of_the_file_though_somebody_still_reads(tmp_path: Path) -> None:
    database, readers = opened(tmp_path), list[sqlite3.Cursor]()
    database._commits = SimpleQueue()  # The disk takes its time.

    def insert_and_read(transaction: Transaction) -> None:
        insert(1)(transaction)
        readers.append(transaction.sql.execute("SELECT * FROM numbers"))

    lost = asyncio.ensure_future(database.write(insert_and_read))
    while not readers:
        await asyncio.sleep(0)
    database.crash()
    lost.cancel()
    database = opened(tmp_path)
    await database.write(insert(2))
    assert numbers(database) == [2]
    await database.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    database = opened(tmp_path)
    await database.close()
    with pytest.raises(CoordError) as caught:
        await database.write(insert(1))
    assert caught.value.reason == "STORE_FAILED"
    with pytest.raises(CoordError) as caught:
        numbers(database)
    assert caught.value.reason == "STORE_FAILED"


async def test_a_newer_version_adds_to_the_schema(tmp_path: Path) -> None:
    database = opened(tmp_path)
    await database.write(insert(1))
    await database.close()
    newer = (*TABLE, "ALTER TABLE numbers ADD COLUMN name TEXT NOT NULL DEFAULT 'x'")
    database = opened(tmp_path, newer)
    query = "SELECT name FROM numbers"
    assert database.read(lambda sql: sql.execute(query).fetchall()) == [("x",)]
    await database.close()


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    await opened(tmp_path, (*TABLE, "CREATE TABLE more (x INTEGER) STRICT")).close()
    with pytest.raises(CoordError, match="newer version"):
        opened(tmp_path)


async def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    await opened(tmp_path).close()
    with pytest.raises(Exception, match="no such table"):
        opened(tmp_path, (*TABLE, "CREATE TABLE half (x INTEGER); INSERT INTO nowhere VALUES (1)"))
    database = opened(tmp_path)
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'half'"
    assert database.read(lambda sql: sql.execute(query).fetchone()) == (0,)
    await database.close()
