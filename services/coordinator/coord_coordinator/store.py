"""What the coordinator needs of a store: its events."""

from collections.abc import AsyncIterator
from typing import Protocol

from coord.v1 import coordinator_pb2 as pb


class CoordinatorStore(Protocol):
    """Holds what happened to workers."""

    async def append(self, project: str, event: pb.CoordinatorEvent) -> None:
        """Store an event; it is on disk on return."""

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.CoordinatorEvent]]:
        """Yield events after a number, then new ones as they come."""

    async def close(self) -> None:
        """Close the store."""
