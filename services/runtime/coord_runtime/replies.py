"""Answers to calls with a request id, kept for who repeats them."""

import sqlite3
from typing import cast

from coord.errors import invalid_argument
from coord.times import SECOND
from google.protobuf.message import Message

from coord_runtime.calls import Once

_KEPT_NS = 24 * 3600 * SECOND
_SWEEP_NS = 600 * SECOND


class Replies:
    """Keeps answers for a day."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._swept_ns = 0

    def keep(self, once: Once, response: Message, now_ns: int) -> None:
        """Keep an answer, and drop those whose time has passed."""
        if now_ns - self._swept_ns > _SWEEP_NS:
            self._swept_ns = now_ns
            self._sql.execute("DELETE FROM replies WHERE replied_ns < ?", (now_ns - _KEPT_NS,))
        row = (*once.key, once.digest, response.SerializeToString(), now_ns)
        self._sql.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def stored_reply(sql: sqlite3.Connection, once: Once) -> Message | None:
    """Return the answer that a call has had before; None where it is new.

    Raises:
        CoordError: INVALID_ARGUMENT with reason REQUEST_ID_REUSED.
    """
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
