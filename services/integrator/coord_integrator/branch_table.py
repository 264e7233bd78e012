"""The branches that Coord has made for attempts, on disk before they are there."""

from dataclasses import dataclass

from coord_runtime.database import Database


@dataclass(frozen=True)
class OwnBranch:
    """A branch of an attempt.

    Attributes:
        worker: For whose worktree it was made.
        branch: Its name, without `refs/heads/`.
        base: The commit that it started from.
    """

    worker: str
    branch: str
    base: str


class BranchTable:
    """The branches of one project that may still be there."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project

    def all(self) -> list[OwnBranch]:
        """Return the branches, by name."""
        query = "SELECT worker, branch, base FROM branches WHERE project = ? ORDER BY branch"
        rows = self._database.read(lambda sql: sql.execute(query, (self._project,)).fetchall())
        return [OwnBranch(*row) for row in rows]

    async def add(self, own: OwnBranch) -> None:
        """Record a branch that is about to be made, or to start from another commit."""
        query = "INSERT OR REPLACE INTO branches VALUES (?, ?, ?, ?)"
        values = (self._project, own.branch, own.worker, own.base)
        await self._database.write(lambda transaction: transaction.sql.execute(query, values))

    async def remove(self, branch: str) -> None:
        """Forget a branch that is gone."""
        query = "DELETE FROM branches WHERE project = ? AND branch = ?"
        values = (self._project, branch)
        await self._database.write(lambda transaction: transaction.sql.execute(query, values))
