"""When tasks may be tried again: by the wall clock, which may be set back."""

import sqlite3
from collections.abc import Callable

from coord_runtime.database import Database, Transaction

from coord_queue.schema import BACKED_OFF, IN_BACKOFF, NEVER_NS

# A backoff that began in the future lasts as long as it was meant to, from now on, also where its
# task waits for others too.
_ANEW = f"""
    UPDATE tasks SET not_before_ns = not_before_ns - changed_ns + ?1,
        ready_ns = ready_ns - changed_ns + ?1, changed_ns = ?1
    WHERE {BACKED_OFF} AND changed_ns > ?1
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
        # No backoff began after; what the clock showed before the start is not known.
        self._begun_ns = NEVER_NS
        # No backoff ends before, by project; not known where there is nothing.
        self._first_ns: dict[str, int] = {}

    def note(self, project: str, began_ns: int, first_ns: int) -> None:
        """Note that backoffs have begun at a time, of which none ends before another."""
        self._begun_ns = max(self._begun_ns, began_ns)
        if first_ns < self._first_ns.get(project, 0):
            self._first_ns[project] = first_ns

    def first_ns(self, project: str, now_ns: int) -> int:
        """Return a time before which no backoff of a project ends; far away where there is none."""
        if self._first_ns.get(project, 0) <= now_ns:
            # Also of tasks that wait for others: these may end without a word to here.
            first_ns = self._database.read(lambda sql: _next_ns(sql, project, BACKED_OFF, 0))
            self._first_ns[project] = first_ns or NEVER_NS
        return self._first_ns[project]

    def next_ns(self, project: str) -> int:
        """Return when the next one ends that has not; 0 where there is none."""
        now_ns = self._now_ns()
        return self._database.read(lambda sql: _next_ns(sql, project, IN_BACKOFF, now_ns))

    def count(self, project: str, now_ns: int) -> int:
        """Return how many have not ended."""
        if self.first_ns(project, now_ns) == NEVER_NS:
            return 0
        return self._database.read(lambda sql: _count(sql, project, now_ns))

    async def follow_clock(self) -> bool:
        """Begin anew what began in the future: the clock was set back.

        Returns:
            Whether something may have.
        """
        now_ns, begun_ns = self._now_ns(), self._begun_ns
        if now_ns >= begun_ns:
            return False

        def begin_anew(transaction: Transaction) -> None:
            transaction.sql.execute(_ANEW, (now_ns,))

        # What begins meanwhile is noted.
        self._begun_ns = now_ns
        try:
            await self._database.write(begin_anew)
        except BaseException:
            self._begun_ns = begun_ns
            raise
        self._first_ns.clear()
        return True


def _next_ns(sql: sqlite3.Connection, project: str, which: str, after_ns: int) -> int:
    query = (
        f"SELECT coalesce(min(not_before_ns), 0) FROM tasks WHERE project = ? AND {which}"  # noqa: S608 - a constant.
        " AND not_before_ns > ?"
    )
    return int(sql.execute(query, (project, after_ns)).fetchone()[0])


def _count(sql: sqlite3.Connection, project: str, now_ns: int) -> int:
    query = f"SELECT count(*) FROM tasks WHERE project = ? AND {IN_BACKOFF} AND not_before_ns > ?"  # noqa: S608 - a constant.
    return int(sql.execute(query, (project, now_ns)).fetchone()[0])
