"""Brings what a call changed to disk before its answer leaves."""

import asyncio

from coord.errors import CoordError

from coord_limiter import messages
from coord_limiter.admission import Admission, Changes
from coord_limiter.ahead import Clocks
from coord_limiter.bucket import Gauge
from coord_limiter.store import LimiterStore


class AheadWriter:
    """Writes records ahead, one write for all that a call left uncovered."""

    def __init__(self, store: LimiterStore) -> None:
        self._store = store
        # A gauge's newest write. One that is no longer under way is done.
        self._writes: dict[Gauge, asyncio.Task[None]] = {}

    async def commit(
        self, project: str, admission: Admission, changes: Changes, now: Clocks
    ) -> None:
        """Return once all that the call was charged is on disk, given or written ahead.

        Raises:
            CoordError: The store failed; what the call was granted is taken back.
        """
        writes = self._writes_of(project, changes, now)
        if not writes:
            return
        try:
            # The writes are shared: a caller that goes away must not end them.
            await asyncio.shield(asyncio.gather(*writes))
        except CoordError:
            admission.undo(changes)
            raise

    def _writes_of(self, project: str, changes: Changes, now: Clocks) -> set["asyncio.Task[None]"]:
        records = {key: gauge.write_ahead(now) for key, gauge in changes.uncovered.items()}
        writes: set[asyncio.Task[None]] = set()
        if records or changes.exhausted or changes.paused:
            events = messages.exhausted(changes.exhausted)
            events += messages.paused(changes.paused, changes.worker)
            write = asyncio.create_task(
                self._store.write_ahead(project, records, events, changes.paused)
            )
            writes.add(write)
            for gauge in changes.uncovered.values():
                self._track(gauge, write)
        for gauge in changes.touched.values():
            if gauge in self._writes:
                writes.add(self._writes[gauge])
        return writes

    def _track(self, gauge: Gauge, write: "asyncio.Task[None]") -> None:
        self._writes[gauge] = write

        def forget(done: "asyncio.Task[None]") -> None:
            if self._writes.get(gauge) is done:
                del self._writes[gauge]
            # Nobody may be left to hear of it: what is not on disk must not cover further grants.
            if done.cancelled() or done.exception() is not None:
                gauge.record = None

        write.add_done_callback(forget)
