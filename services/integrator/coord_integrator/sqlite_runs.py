"""The runs of the check in SQLite."""

from typing import Any

from coord.times import timestamp
from coord.v1 import integrator_pb2
from coord_runtime.database import Database, Transaction


class SqliteRunStore:
    """The runs of one project's check. See `RunStore`."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project

    def runs(self, change_id: str) -> list[integrator_pb2.CheckRun]:
        """Return the runs with a change, oldest first."""
        query = (
            "SELECT body FROM run_changes JOIN runs ON number = run"
            " WHERE run_changes.project = ? AND change_id = ? ORDER BY run"
        )
        rows = self._rows(query, self._project, change_id)
        return [integrator_pb2.CheckRun.FromString(body) for (body,) in rows]

    def target_runs(
        self, *, before: int | None, limit: int
    ) -> list[tuple[int, integrator_pb2.CheckRun]]:
        """Return runs on the target alone with their numbers, newest first."""
        query = (
            "SELECT number, body FROM runs WHERE project = ? AND of_target"
            " AND number < coalesce(?, number + 1) ORDER BY number DESC LIMIT ?"
        )
        rows = self._rows(query, self._project, before, limit)
        return [(number, integrator_pb2.CheckRun.FromString(body)) for number, body in rows]

    async def add_run(self, run: integrator_pb2.CheckRun, environment: str) -> bool:
        """Record a run of the check; tell whether it is the first to show its tree flaky."""

        def add(transaction: Transaction) -> bool:
            is_flaky = self._contradicts(transaction, run)
            self._insert(transaction, run)
            if run.passed:
                row = (self._project, run.tree, run.command, environment)
                transaction.sql.execute("INSERT OR IGNORE INTO greens VALUES (?, ?, ?, ?)", row)
            return is_flaky and self._add_flake(transaction, run)

        return await self._database.write(add)

    def is_green(self, tree: str, command: str, environment: str) -> bool:
        """Tell whether the check has been green on a tree."""
        query = (
            "SELECT 1 FROM greens"
            " WHERE project = ? AND tree = ? AND command = ? AND environment = ?"
        )
        return bool(self._rows(query, self._project, tree, command, environment))

    def run_counts(self) -> tuple[int, int]:
        """Return how many runs there were, and how many trees were red and green."""
        runs = "SELECT count(*) FROM runs WHERE project = ? AND tree != ''"
        flakes = "SELECT count(*) FROM flakes WHERE project = ?"
        (counted,), (flaky,) = (self._rows(query, self._project)[0] for query in (runs, flakes))
        return counted, flaky

    def flakes(self, limit: int) -> list[integrator_pb2.Flake]:
        """Return the newest flakes, newest first."""
        query = "SELECT body FROM flakes WHERE project = ? ORDER BY number DESC LIMIT ?"
        rows = self._rows(query, self._project, limit)
        return [integrator_pb2.Flake.FromString(body) for (body,) in rows]

    async def _execute(self, query: str, *values: object) -> None:
        await self._database.write(lambda transaction: transaction.sql.execute(query, values))

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.read(lambda sql: sql.execute(query, values).fetchall())

    def _insert(self, transaction: Transaction, run: integrator_pb2.CheckRun) -> None:
        cursor = transaction.sql.execute(
            "INSERT INTO runs (project, body, of_target, tree, command, passed)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                self._project,
                run.SerializeToString(),
                run.of_target,
                run.tree,
                run.command,
                run.passed,
            ),
        )
        rows = [(self._project, change_id, cursor.lastrowid) for change_id in run.change_ids]
        transaction.sql.executemany("INSERT INTO run_changes VALUES (?, ?, ?)", rows)

    def _contradicts(self, transaction: Transaction, run: integrator_pb2.CheckRun) -> bool:
        query = (
            "SELECT 1 FROM runs WHERE project = ? AND tree = ? AND command = ?"
            " AND passed = ? AND tree != '' LIMIT 1"
        )
        values = (self._project, run.tree, run.command, not run.passed)
        return transaction.sql.execute(query, values).fetchone() is not None

    def _add_flake(self, transaction: Transaction, run: integrator_pb2.CheckRun) -> bool:
        flake = integrator_pb2.Flake(
            tree=run.tree,
            command=run.command,
            change_ids=run.change_ids,
            found_at=timestamp(transaction.now_ns),
        )
        row = (self._project, flake.tree, flake.command, flake.SerializeToString())
        query = "INSERT OR IGNORE INTO flakes (project, tree, command, body) VALUES (?, ?, ?, ?)"
        return transaction.sql.execute(query, row).rowcount > 0
