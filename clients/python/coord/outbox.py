"""What a worker has reported and its coordinator has not acknowledged."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from coord.v1 import coordinator_pb2


class Outbox:
    """What the worker has reported and the coordinator has not acknowledged, under its numbers.

    Attributes:
        acknowledged: The highest number that was acknowledged.
    """

    def __init__(self) -> None:
        self._next = 1
        self._entries: deque[_Entry] = deque()
        self._written = 0
        self.acknowledged = 0

    def __len__(self) -> int:
        """Return how many reports are not acknowledged."""
        return len(self._entries)

    def add(self, request: coordinator_pb2.ConnectRequest) -> asyncio.Future[None]:
        """Number a report; the answer is done once the report is acknowledged."""
        request.sequence = self._next
        self._next += 1
        done = asyncio.get_running_loop().create_future()
        self._entries.append(_Entry(request, done))
        return done

    def welcome(self, *, resumed: bool) -> None:
        """Mark all reports as not yet written on this stream; number them anew in a new session."""
        self._written = 0
        if not resumed:
            self.acknowledged = 0
            for number, entry in enumerate(self._entries, start=1):
                entry.request.sequence = number
            self._next = 1 + len(self._entries)

    def acknowledge(self, number: int) -> None:
        """Forget the reports up to and including `number`."""
        self.acknowledged = max(self.acknowledged, number)
        while self._entries and self._entries[0].request.sequence <= number:
            done = self._entries.popleft().done
            if not done.done():
                done.set_result(None)

    def unwritten(self) -> Iterable[coordinator_pb2.ConnectRequest]:
        """Yield what this stream has not carried yet, oldest first, and mark it as carried."""
        for entry in list(self._entries):
            if entry.request.sequence > self._written:
                self._written = entry.request.sequence
                yield entry.request

    def asks_for(self) -> set[str]:
        """Return the claims whose request is not acknowledged."""
        return {entry.request.request.claim_id for entry in self._entries}


@dataclass(frozen=True, eq=False)
class _Entry:
    request: coordinator_pb2.ConnectRequest
    done: asyncio.Future[None]
