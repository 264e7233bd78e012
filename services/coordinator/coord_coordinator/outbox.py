"""What workers are told: on disk before it is sent, so that a session outlives its coordinator."""

from collections.abc import Callable
from functools import partial

from coord_coordinator.batches import Batches, insist
from coord_coordinator.store import CoordinatorStore, MessagesHandled, SessionChange


class Outbox:
    """Stores what has become of sessions, in order; what comes meanwhile shares the next commit."""

    def __init__(self, store: CoordinatorStore) -> None:
        self._store = store
        self._changes = Batches(self._store_all)
        self._handled: dict[str, int] = {}

    def add(self, change: SessionChange, stored: Callable[[], None] | None = None) -> None:
        """Store a change soon; call `stored` once it is on disk."""
        # What was handled in a session that is over says nothing of the next one.
        sequence = self._handled.pop(change.worker, None)
        if sequence is not None:
            self._changes.put((MessagesHandled(change.worker, sequence), None))
        self._changes.put((change, stored))

    def handled(self, worker: str, sequence: int) -> None:
        """Note what a worker has handled; it is stored with the next change.

        Nothing hangs on it: the worker says it again in its next Hello.
        """
        self._handled[worker] = sequence

    async def close(self) -> None:
        """Store what is left; where the disk refuses, the next Hellos find what is missing."""
        await self._changes.close()

    async def _store_all(
        self, changes: list[tuple[SessionChange, Callable[[], None] | None]]
    ) -> list[None]:
        await insist(partial(self._store.change_sessions, [one for one, _ in changes]), "sessions")
        for _, stored in changes:
            if stored is not None:
                stored()
        return [None] * len(changes)
