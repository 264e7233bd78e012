"""When tasks may be tried again: by the wall clock, which may be set back."""

import sqlite3
from collections.abc import Callable

from coord_runtime.database import Database, Transaction

from coord_queue.schema import IN_BACKOFF, NEVER_NS

# A backoff that began in the future lasts as long as it was meant to, from now on.
_ANEW = f"""
    UPDATE tasks SET not_before_ns = not_before_ns - changed_ns + ?1,
        ready_ns = ready_ns - changed_ns + ?1, changed_ns = ?1
    WHERE {IN_BACKOFF} AND changed_ns > ?1
"""  # noqa: S608 - a constant.


class Backoffs:
    """The tasks that wait for nothing but the end of a backoff.

    Args:
        database: Where they are.
        now_ns: The wall clock.
    """

    def __init__(self, database: Database, now_ns: Callable[[], int]) -> None:
        self._database = database
        self._now_ns = now_ns
        # What the clock showed last; what it showed before the start is not known.
        self._seen_ns = NEVER_NS
        # No backoff ends before, by project; not known where there is nothing.
        self._first_ns: dict[str, int] = {}

    def note(self, project: str, first_ns: int) -> None:
        """Note that backoffs have begun, of which none ends before a time."""
        if first_ns < self._first_ns.get(project, 0):
            self._first_ns[project] = first_ns

    def first_ns(self, project: str, now_ns: int) -> int:
        """Return a time before which no backoff of a project ends; far away where there is none."""
        if self._first_ns.get(project, 0) <= now_ns:
            first_ns = self._database.read(lambda sql: _next_ns(sql, project, 0))
            self._first_ns[project] = first_ns or NEVER_NS
        return self._first_ns[project]

    def next_ns(self, project: str) -> int:
        """Return when the next one ends that has not; 0 where there is none."""
        now_ns = self._now_ns()
        return self._database.read(lambda sql: _next_ns(sql, project, now_ns))

    def count(self, project: str, now_ns: int) -> int:
        """Return how many have not ended."""
        if self.first_ns(project, now_ns) == NEVER_NS:
            return 0
        return self._database.read(lambda sql: _count(sql, project, now_ns))

    async def follow_clock(self) -> bool:
        """Begin anew what began in the future: the clock was set back.

        Returns:
            Whether it was, or may have been while nobody looked.
        """
        now_ns = self._now_ns()
        if was_back := now_ns < self._seen_ns:

            def begin_anew(transaction: Transaction) -> None:
                transaction.sql.execute(_ANEW, (now_ns,))

            await self._database.write(begin_anew)
            self._first_ns.clear()
        self._seen_ns = now_ns
        return was_back


def _next_ns(sql: sqlite3.Connection, project: str, now_ns: int) -> int:
    query = (
        f"SELECT coalesce(min(not_before_ns), 0) FROM tasks WHERE project = ? AND {IN_BACKOFF}"  # noqa: S608 - a constant.
        " AND not_before_ns > ?"
    )
    return int(sql.execute(query, (project, now_ns)).fetchone()[0])


def _count(sql: sqlite3.Connection, project: str, now_ns: int) -> int:
    query = f"SELECT count(*) FROM tasks WHERE project = ? AND {IN_BACKOFF} AND not_before_ns > ?"  # noqa: S608 - a constant.
    return int(sql.execute(query, (project, now_ns)).fetchone()[0])
