"""The embedded store."""

import sqlite3
from collections.abc import AsyncIterator, Sequence

from coord.v1 import claims_pb2, common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.database import Database, Transaction

from coord_coordinator.store import (
    AskAnswered,
    AskWaits,
    ClaimChange,
    Letter,
    MessageSent,
    MessagesHandled,
    SessionBegun,
    SessionChange,
    SessionEnded,
    StoredClaim,
    StoredSession,
)

MIGRATIONS = (
    """
    CREATE TABLE sessions (
        worker TEXT PRIMARY KEY,
        session_id TEXT NOT NULL,
        hello BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE outbox (
        worker TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        message BLOB NOT NULL,
        PRIMARY KEY (worker, sequence)
    ) STRICT, WITHOUT ROWID;
    -- In the order of asking; those that have ended are remembered for a while.
    CREATE TABLE claims (
        place INTEGER PRIMARY KEY,
        claim_id TEXT NOT NULL UNIQUE,
        claim BLOB NOT NULL,
        lease_ns INTEGER NOT NULL,
        told INTEGER NOT NULL
    ) STRICT;
    -- A message is kept until it expires, so that its id is known.
    CREATE TABLE letters (
        place INTEGER PRIMARY KEY,
        message_id TEXT NOT NULL UNIQUE,
        message BLOB NOT NULL,
        recipients TEXT NOT NULL,
        expires_ns INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX letters_by_age ON letters (expires_ns);
    CREATE TABLE deliveries (
        place INTEGER NOT NULL,
        recipient TEXT NOT NULL,
        PRIMARY KEY (place, recipient)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE asks (
        worker TEXT NOT NULL,
        ask_id TEXT NOT NULL,
        request BLOB NOT NULL,
        PRIMARY KEY (worker, ask_id)
    ) STRICT, WITHOUT ROWID;
    """,
)

# The largest fencing token that a claim was ever given.
_LAST_TOKEN = "claim_token"  # noqa: S105 - a column, not a secret.


class SqliteCoordinatorStore:
    """A `CoordinatorStore` in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, project: str, event: pb.CoordinatorEvent) -> None:
        """Store an event; it is on disk on return."""
        await self._database.write(lambda transaction: transaction.emit(project, event))

    async def change_sessions(self, changes: Sequence[SessionChange]) -> None:
        """Store what has become of sessions, in order; all of it is on disk on return."""

        def operation(transaction: Transaction) -> None:
            for change in changes:
                _change(transaction.sql, change)

        await self._database.write(operation)

    async def change_claims(self, project: str, change: ClaimChange) -> None:
        """Store what has become of claims, with an event for each; on disk on return."""
        await self._database.write(lambda transaction: _change_claims(transaction, project, change))

    def claims(self) -> tuple[list[StoredClaim], int]:
        """Return the claims in the order of asking, and the largest fencing token ever given."""
        query = "SELECT claim, lease_ns, told FROM claims ORDER BY place"
        rows = self._database.read(lambda sql: sql.execute(query).fetchall())
        claims = [
            StoredClaim(claims_pb2.Claim.FromString(body), lease_ns, bool(told))
            for body, lease_ns, told in rows
        ]
        return claims, int(self.setting(_LAST_TOKEN) or 0)

    async def post(self, project: str, letter: Letter) -> tuple[str, ...] | None:
        """Store a message; return who was to get it, where one of its id was stored before."""
        return await self._database.write(lambda transaction: _post(transaction, project, letter))

    def recipients(self, message_id: str) -> tuple[str, ...]:
        """Return who was to get a message that is known; nobody where it is not."""
        return self._database.read(lambda sql: _recipients(sql, message_id))

    async def received(self, project: str, receipts: Sequence[tuple[str, str]]) -> None:
        """Store that recipients have handled messages, with an event for the last of each."""

        def operation(transaction: Transaction) -> None:
            for recipient, message_id in receipts:
                _received(transaction, project, recipient, message_id)

        await self._database.write(operation)

    async def expire_letters(self, now_ns: int) -> list[str]:
        """Forget the messages that have expired; return their ids."""

        def operation(transaction: Transaction) -> list[str]:
            query = "DELETE FROM letters WHERE expires_ns <= ? RETURNING place, message_id"
            rows = transaction.sql.execute(query, (now_ns,)).fetchall()
            places = [(place,) for place, _ in rows]
            transaction.sql.executemany("DELETE FROM deliveries WHERE place = ?", places)
            return [message_id for _, message_id in rows]

        return await self._database.write(operation)

    def letters(self) -> list[Letter]:
        """Return what is not acknowledged, in the order of sending."""
        query = (
            "SELECT message, group_concat(recipient, ' '), expires_ns"
            " FROM letters JOIN deliveries USING (place) GROUP BY place ORDER BY place"
        )
        rows = self._database.read(lambda sql: sql.execute(query).fetchall())
        return [
            Letter(pb.WorkerMessage.FromString(body), tuple(names.split()), expires_ns)
            for body, names, expires_ns in rows
        ]

    def setting(self, name: str) -> str:
        """Return what was set; empty where nothing was."""
        query = "SELECT value FROM settings WHERE name = ?"
        row = self._database.read(lambda sql: sql.execute(query, (name,)).fetchone())
        return "" if row is None else str(row[0])

    async def set(self, project: str, name: str, value: str, event: pb.CoordinatorEvent) -> None:
        """Store a setting, with an event."""

        def operation(transaction: Transaction) -> None:
            _set(transaction.sql, name, value)
            transaction.emit(project, event)

        await self._database.write(operation)

    def sessions(self) -> list[StoredSession]:
        """Return the sessions that have not ended, by worker."""
        return self._database.read(_sessions)

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.CoordinatorEvent]]:
        """Yield events after a number, then new ones as they come."""
        return self._database.watch(project, after, pb.CoordinatorEvent)

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()


def _change(sql: sqlite3.Connection, change: SessionChange) -> None:
    match change:
        case MessageSent(worker, message):
            sql.execute(
                "INSERT INTO outbox VALUES (?, ?, ?)",
                (worker, message.sequence, message.SerializeToString()),
            )
        case MessagesHandled(worker, sequence):
            # The newest stays: it tells what the next number is.
            sql.execute(
                "DELETE FROM outbox WHERE worker = ?1 AND sequence <= ?2 AND sequence <"
                " (SELECT max(sequence) FROM outbox WHERE worker = ?1)",
                (worker, sequence),
            )
        case AskWaits(worker, ask_id, request):
            sql.execute(
                "INSERT OR REPLACE INTO asks VALUES (?, ?, ?)",
                (worker, ask_id, request.SerializeToString()),
            )
        case AskAnswered(worker, ask_id):
            sql.execute("DELETE FROM asks WHERE worker = ? AND ask_id = ?", (worker, ask_id))
        case SessionBegun(worker, session_id, hello):
            _forget(sql, worker)
            sql.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
                (worker, session_id, hello.SerializeToString()),
            )
        case SessionEnded(worker):
            _forget(sql, worker)
            sql.execute("DELETE FROM sessions WHERE worker = ?", (worker,))


def _forget(sql: sqlite3.Connection, worker: str) -> None:
    """Forget what was kept for a worker's session."""
    sql.execute("DELETE FROM outbox WHERE worker = ?", (worker,))
    sql.execute("DELETE FROM asks WHERE worker = ?", (worker,))


def _change_claims(transaction: Transaction, project: str, change: ClaimChange) -> None:
    for one in change.saved.values():
        transaction.sql.execute(
            "INSERT INTO claims (claim_id, claim, lease_ns, told) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (claim_id) DO UPDATE SET claim = excluded.claim",
            (one.claim.claim_id, one.claim.SerializeToString(), one.lease_ns, one.told),
        )
        state = claims_pb2.ClaimState.Name(one.claim.state).removeprefix("CLAIM_STATE_")
        reason = common_pb2.Reason(code=f"CLAIM_{state}")
        event = pb.CoordinatorEvent(worker=one.claim.holder, claim=one.claim, reason=reason)
        transaction.emit(project, event)
    forgotten = [(claim_id,) for claim_id in change.forgotten]
    transaction.sql.executemany("DELETE FROM claims WHERE claim_id = ?", forgotten)
    if change.last_token:
        _set(transaction.sql, _LAST_TOKEN, str(change.last_token))


def _post(transaction: Transaction, project: str, letter: Letter) -> tuple[str, ...] | None:
    message = letter.message
    if known := _recipients(transaction.sql, message.message_id):
        return known
    cursor = transaction.sql.execute(
        "INSERT INTO letters (message_id, message, recipients, expires_ns) VALUES (?, ?, ?, ?)",
        (
            message.message_id,
            message.SerializeToString(),
            " ".join(letter.recipients),
            letter.expires_ns,
        ),
    )
    rows = [(cursor.lastrowid, name) for name in letter.recipients]
    transaction.sql.executemany("INSERT INTO deliveries VALUES (?, ?)", rows)
    transaction.emit(project, _mail_event(message, "MESSAGE_STORED"))
    return None


def _recipients(sql: sqlite3.Connection, message_id: str) -> tuple[str, ...]:
    query = "SELECT recipients FROM letters WHERE message_id = ?"
    row = sql.execute(query, (message_id,)).fetchone()
    return () if row is None else tuple(row[0].split())


def _received(transaction: Transaction, project: str, recipient: str, message_id: str) -> None:
    query = "SELECT place, message FROM letters WHERE message_id = ?"
    row = transaction.sql.execute(query, (message_id,)).fetchone()
    if row is None:
        return
    place, message = row
    transaction.sql.execute(
        "DELETE FROM deliveries WHERE place = ? AND recipient = ?", (place, recipient)
    )
    left = transaction.sql.execute("SELECT 1 FROM deliveries WHERE place = ?", (place,)).fetchone()
    if left is None:
        event = _mail_event(pb.WorkerMessage.FromString(message), "MESSAGE_DELIVERED")
        transaction.emit(project, event)


def _mail_event(message: pb.WorkerMessage, code: str) -> pb.CoordinatorEvent:
    routed = pb.WorkerMessage()
    routed.CopyFrom(message)
    routed.ClearField("body")
    return pb.CoordinatorEvent(
        worker=message.sender, routed=routed, reason=common_pb2.Reason(code=code)
    )


def _set(sql: sqlite3.Connection, name: str, value: str) -> None:
    sql.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


def _sessions(sql: sqlite3.Connection) -> list[StoredSession]:
    found = {
        worker: StoredSession(SessionBegun(worker, session_id, pb.Hello.FromString(hello)), [], {})
        for worker, session_id, hello in sql.execute("SELECT * FROM sessions ORDER BY worker")
    }
    for worker, message in sql.execute(
        "SELECT worker, message FROM outbox ORDER BY worker, sequence"
    ):
        found[worker].messages.append(pb.ConnectResponse.FromString(message))
    for worker, ask_id, request in sql.execute("SELECT * FROM asks ORDER BY worker, ask_id"):
        found[worker].asks[ask_id] = pb.ConnectRequest.FromString(request)
    return list(found.values())
