"""What workers are told: on disk before it is sent, so that a session outlives its coordinator."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from coord.errors import CoordError

from coord_coordinator.store import CoordinatorStore, MessagesHandled, SessionChange

# Between tries where the disk refuses.
_RETRY_S = 0.5
_CLOSE_S = 1.0

log = structlog.get_logger(__name__)


class Outbox:
    """Stores what has become of sessions, in order; what comes meanwhile shares the next commit."""

    def __init__(self, store: CoordinatorStore) -> None:
        self._store = store
        self._waiting: list[tuple[SessionChange, Callable[[], None] | None]] = []
        self._handled: dict[str, int] = {}
        self._storing: asyncio.Task[None] | None = None

    def add(self, change: SessionChange, stored: Callable[[], None] | None = None) -> None:
        """Store a change soon; call `stored` once it is on disk."""
        # What was handled in a session that is over says nothing of the next one.
        self._note_handled(change.worker)
        self._waiting.append((change, stored))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_all())

    def handled(self, worker: str, sequence: int) -> None:
        """Note what a worker has handled; it is stored with the next change.

        Nothing hangs on it: the worker says it again in its next Hello.
        """
        self._handled[worker] = sequence

    async def close(self) -> None:
        """Store what is left; where the disk refuses, the next Hellos find what is missing."""
        if self._storing is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._storing, _CLOSE_S)

    def _note_handled(self, worker: str) -> None:
        sequence = self._handled.pop(worker, None)
        if sequence is not None:
            self._waiting.append((MessagesHandled(worker, sequence), None))

    async def _store_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._insist([change for change, _ in batch])
            for _, stored in batch:
                if stored is not None:
                    stored()
        self._storing = None

    async def _insist(self, changes: list[SessionChange]) -> None:
        while True:
            try:
                await self._store.change_sessions(changes)
            except CoordError as error:
                log.warning("sessions could not be stored", error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                return
