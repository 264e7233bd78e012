"""Which conflicts last, on disk: so that a restart tells only what has changed meanwhile."""

from collections import Counter
from collections.abc import Iterable

from coord.times import timestamp
from coord.v1 import integrator_pb2
from coord_runtime.database import Database, Transaction

from coord_integrator.names import change_id

Pair = tuple[str, str]


class ConflictTable:
    """The conflicts of one project's worktrees, with one another and with the target."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project
        query = "SELECT body FROM conflicts WHERE project = ?"
        rows = database.read(lambda sql: sql.execute(query, (project,)).fetchall())
        stored = (integrator_pb2.LiveConflict.FromString(body) for (body,) in rows)
        self._live = {_pair(conflict): conflict for conflict in stored}

    def all(self) -> list[integrator_pb2.LiveConflict]:
        """Return the conflicts, by worker and other worker."""
        return [conflict for _, conflict in sorted(self._live.items())]

    def counts(self) -> Counter[str]:
        """Return with how many others each attempt's work conflicts, by the id of its change."""
        met: Counter[str] = Counter()
        for conflict in self._live.values():
            for attempt in (conflict.attempt, conflict.other.attempt):
                if attempt.fencing_token:
                    met[change_id(attempt.task_id, attempt.fencing_token)] += 1
        return met

    async def put(self, conflicts: Iterable[integrator_pb2.LiveConflict]) -> None:
        """Take these conflicts for the ones there are, and tell what is new and what is over.

        One that is about other files, or between other attempts, is new; where only its hunks have
        changed, nothing is told.
        """
        live = {_pair(conflict): conflict for conflict in conflicts}
        if live.keys() == self._live.keys() and all(
            _content(live[pair]) == _content(self._live[pair]) for pair in live
        ):
            return
        self._live = await self._database.write(lambda transaction: self._put(transaction, live))

    def _put(
        self, transaction: Transaction, live: dict[Pair, integrator_pb2.LiveConflict]
    ) -> dict[Pair, integrator_pb2.LiveConflict]:
        now = timestamp(transaction.now_ns)
        for pair, conflict in self._live.items():
            if pair not in live or _sides(live[pair]) != _sides(conflict):
                self._tell(transaction, conflict, resolved=True)
        for pair, conflict in live.items():
            before = self._live.get(pair)
            lasts = before is not None and _sides(before) == _sides(conflict)
            conflict.since.CopyFrom(before.since if before is not None and lasts else now)
            if before is None or not lasts or before.other.paths != conflict.other.paths:
                self._tell(transaction, conflict, resolved=False)
        self._store(transaction, live)
        return live

    def _tell(
        self, transaction: Transaction, conflict: integrator_pb2.LiveConflict, *, resolved: bool
    ) -> None:
        changed = integrator_pb2.ConflictChanged(conflict=conflict, resolved=resolved)
        event = integrator_pb2.IntegratorEvent(conflict_changed=changed)
        transaction.emit(self._project, event)

    def _store(
        self, transaction: Transaction, live: dict[Pair, integrator_pb2.LiveConflict]
    ) -> None:
        transaction.sql.execute("DELETE FROM conflicts WHERE project = ?", (self._project,))
        rows = [
            (self._project, *pair, conflict.SerializeToString()) for pair, conflict in live.items()
        ]
        transaction.sql.executemany("INSERT INTO conflicts VALUES (?, ?, ?, ?)", rows)


def _pair(conflict: integrator_pb2.LiveConflict) -> Pair:
    return conflict.worker, conflict.other.worker


def _sides(conflict: integrator_pb2.LiveConflict) -> tuple[int, int]:
    return conflict.attempt.fencing_token, conflict.other.attempt.fencing_token


def _content(conflict: integrator_pb2.LiveConflict) -> object:
    return _sides(conflict), list(conflict.other.paths), conflict.other.hunks
