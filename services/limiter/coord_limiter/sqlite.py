"""The limiter's store in SQLite."""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from coord.v1 import limiter_pb2
from coord_runtime.calls import Once
from coord_runtime.database import Database, Transaction

from coord_limiter import messages
from coord_limiter.ahead import Clocks, Record
from coord_limiter.bucket import Rules
from coord_limiter.meter import GRAINS, Limit
from coord_limiter.store import Place, StoredBucket, owner

# `per_minute` and `burst` are the bucket's; those of the record are the ones by which it filled
# then. Grains outgrow 64 bits: they are kept as decimal digits.
MIGRATIONS = (
    """
    CREATE TABLE limits (
        project TEXT NOT NULL,
        bucket TEXT NOT NULL,
        dimension TEXT NOT NULL,
        per_minute INTEGER NOT NULL,
        burst INTEGER NOT NULL,
        record_per_minute INTEGER NOT NULL,
        record_burst INTEGER NOT NULL,
        level TEXT NOT NULL,
        ahead TEXT NOT NULL,
        wall_ns INTEGER NOT NULL,
        monotonic_ns INTEGER NOT NULL,
        PRIMARY KEY (project, bucket, dimension)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE buckets (
        project TEXT NOT NULL,
        bucket TEXT NOT NULL,
        declared INTEGER NOT NULL DEFAULT 0,
        weights TEXT NOT NULL DEFAULT '{}',
        paused_until_ns INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (project, bucket)
    ) STRICT, WITHOUT ROWID;
    """,
)

_SELECT = """
SELECT project, bucket, dimension, per_minute, burst,
    record_per_minute, record_burst, level, ahead, wall_ns, monotonic_ns
FROM limits
"""
_SELECT_RULES = "SELECT project, bucket, declared, weights, paused_until_ns FROM buckets"
_RULES = """
INSERT INTO buckets (project, bucket, declared, weights) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET declared = excluded.declared, weights = excluded.weights
"""
_PAUSE = """
INSERT INTO buckets (project, bucket, paused_until_ns) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET paused_until_ns = max(paused_until_ns, excluded.paused_until_ns)
"""
_INSERT = "INSERT INTO limits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHANGE = """
UPDATE limits SET per_minute = ?, burst = ? WHERE project = ? AND bucket = ? AND dimension = ?
"""
_RECORD = """
UPDATE limits SET record_per_minute = ?, record_burst = ?, level = ?, ahead = ?,
    wall_ns = ?, monotonic_ns = ?
WHERE project = ? AND bucket = ? AND dimension = ?
"""
_REMOVE = (
    "DELETE FROM limits WHERE project = ? AND bucket = ?",
    "DELETE FROM buckets WHERE project = ? AND bucket = ?",
)


class SqliteLimiterStore:
    """The limiter's store in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def buckets(self) -> list[StoredBucket]:
        """Return all buckets of all projects."""
        return self._database.read(lambda sql: _buckets(sql, "", ()))

    def bucket(self, project: str, name: str) -> StoredBucket | None:
        """Return one bucket; None where it was removed."""
        where, key = " WHERE project = ? AND bucket = ?", (owner(project, name), name)
        return next(iter(self._database.read(lambda sql: _buckets(sql, where, key))), None)

    async def configure(
        self,
        request: limiter_pb2.ConfigureBucketRequest,
        response: limiter_pb2.ConfigureBucketResponse,
        now: Clocks,
        once: Once | None,
    ) -> limiter_pb2.ConfigureBucketResponse:
        """Create a bucket, full, or change its limits; a dimension that is added begins empty."""

        def operation(transaction: Transaction) -> limiter_pb2.ConfigureBucketResponse:
            _configure(transaction, request, now)
            return response

        return await self._database.write(operation, once)

    async def remove(
        self, request: limiter_pb2.RemoveBucketRequest, once: Once | None
    ) -> limiter_pb2.RemoveBucketResponse:
        """Remove a bucket."""
        key = (owner(request.project, request.name), request.name)
        removed = limiter_pb2.BucketRemoved()
        event = limiter_pb2.LimiterEvent(bucket=request.name, removed=removed)

        def operation(transaction: Transaction) -> limiter_pb2.RemoveBucketResponse:
            for statement in _REMOVE:
                transaction.sql.execute(statement, key)
            transaction.emit(request.project, event)
            return limiter_pb2.RemoveBucketResponse()

        return await self._database.write(operation, once)

    async def write_ahead(
        self,
        project: str,
        records: Mapping[Place, Record],
        events: Sequence[limiter_pb2.LimiterEvent],
        paused: Mapping[str, int],
    ) -> None:
        """Replace records, write events, and pause buckets until times of the wall clock."""
        rows = [
            (*_record_row(record), owner(project, place[0]), *place)
            for place, record in records.items()
        ]
        pauses = [(owner(project, name), name, until_ns) for name, until_ns in paused.items()]

        def operation(transaction: Transaction) -> None:
            transaction.sql.executemany(_RECORD, rows)
            transaction.sql.executemany(_PAUSE, pauses)
            for event in events:
                transaction.emit(project, event)

        await self._database.write(operation)

    def watch(self, project: str, after: int) -> AsyncIterator[list[limiter_pb2.LimiterEvent]]:
        """Yield the project's events after a number, for as long as the store is open."""
        return self._database.watch(project, after, limiter_pb2.LimiterEvent)


def _configure(
    transaction: Transaction, request: limiter_pb2.ConfigureBucketRequest, now: Clocks
) -> None:
    sql, key = transaction.sql, (owner(request.project, request.name), request.name)
    wanted = messages.limits("limits", request.limits)
    rules = messages.rules(request)
    sql.execute(_RULES, (*key, int(rules.declared), json.dumps(rules.weights)))
    query = "SELECT dimension, per_minute, burst FROM limits WHERE project = ? AND bucket = ?"
    present = {row[0]: Limit(row[1], row[2]) for row in sql.execute(query, key)}
    if present == wanted:
        return
    for dimension in present.keys() - wanted.keys():
        query = "DELETE FROM limits WHERE project = ? AND bucket = ? AND dimension = ?"
        sql.execute(query, (*key, dimension))
    for dimension, limit in wanted.items():
        if dimension in present:
            sql.execute(_CHANGE, (limit.per_minute, limit.burst, *key, dimension))
        else:
            level = 0 if present else limit.burst * GRAINS
            record = _record_row(Record(limit, level, 0, now))
            sql.execute(_INSERT, (*key, dimension, limit.per_minute, limit.burst, *record))
    configured = limiter_pb2.BucketConfigured(limits=request.limits)
    event = limiter_pb2.LimiterEvent(bucket=request.name, configured=configured)
    transaction.emit(request.project, event)


def _record_row(record: Record) -> tuple[int, int, str, str, int, int]:
    limit, at = record.limit, record.at
    level, ahead = str(record.level), str(record.ahead)
    return limit.per_minute, limit.burst, level, ahead, at.wall_ns, at.monotonic_ns


def _buckets(sql: sqlite3.Connection, where: str, key: Sequence[str]) -> list[StoredBucket]:
    found: dict[Place, StoredBucket] = {}
    for project, name, declared, weights, paused_until_ns in sql.execute(
        f"{_SELECT_RULES}{where}", key
    ):
        rules = Rules(bool(declared), json.loads(weights))
        found[project, name] = StoredBucket(project, name, {}, {}, rules, paused_until_ns)
    for project, name, dimension, per_minute, burst, *record in sql.execute(
        f"{_SELECT}{where}", key
    ):
        # One that was made before there were rules has none.
        bucket = found.setdefault((project, name), StoredBucket(project, name, {}, {}))
        bucket.limits[dimension] = Limit(per_minute, burst)
        bucket.records[dimension] = _record(record)
    return list(found.values())


def _record(columns: list[Any]) -> Record:
    per_minute, burst, level, ahead, wall_ns, monotonic_ns = columns
    limit, at = Limit(per_minute, burst), Clocks(wall_ns, monotonic_ns)
    return Record(limit, int(level), int(ahead), at)
