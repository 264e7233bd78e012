"""The embedded store."""

from collections.abc import AsyncIterator

from coord.v1 import coordinator_pb2 as pb
from coord_runtime.database import Database

MIGRATIONS: tuple[str, ...] = ()


class SqliteCoordinatorStore:
    """A `CoordinatorStore` in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, project: str, event: pb.CoordinatorEvent) -> None:
        """Store an event; it is on disk on return."""
        await self._database.write(lambda transaction: transaction.emit(project, event))

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.CoordinatorEvent]]:
        """Yield events after a number, then new ones as they come."""
        return self._database.watch(project, after, pb.CoordinatorEvent)

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()
