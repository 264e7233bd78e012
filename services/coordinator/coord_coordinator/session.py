"""The numbers of one session: what was sent, what was handled, what must be sent again."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from coord.errors import CoordError, invalid_argument
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.wakeups import Wakeups


class Session:
    """The coordinator's end of one worker instance's conversation. It outlives its streams.

    Attributes:
        handled: The worker's highest number whose effect is on disk.
    """

    def __init__(self) -> None:
        self.handled = 0
        self._received = 0
        self._sent = 0
        self._unacknowledged: deque[pb.ConnectResponse] = deque()
        self._changed = Wakeups()

    def push(self, **message: Any) -> int:
        """Number a message and keep it until the worker has acknowledged it; return the number.

        Args:
            message: One field of ConnectResponse's oneof.
        """
        self._sent += 1
        self._unacknowledged.append(pb.ConnectResponse(sequence=self._sent, **message))
        self._changed.wake()
        return self._sent

    @property
    def backlog(self) -> int:
        """How many messages the worker has not acknowledged."""
        return len(self._unacknowledged)

    def receive(self, request: pb.ConnectRequest) -> bool:
        """Note a numbered message; return whether it is new.

        Raises:
            CoordError: INVALID_ARGUMENT with reason PROTOCOL where a number is missing.
        """
        if request.sequence <= self._received:
            return False
        if request.sequence != self._received + 1:
            raise protocol_error(
                f"message {request.sequence} came after {self._received}: numbers have no gaps"
            )
        self._received = request.sequence
        return True

    def acknowledge(self, number: int) -> None:
        """Forget what the worker has handled.

        Raises:
            CoordError: INVALID_ARGUMENT with reason PROTOCOL for a number that was never sent.
        """
        if number > self._sent:
            raise protocol_error(f"acknowledged {number}, but only {self._sent} were sent")
        while self._unacknowledged and self._unacknowledged[0].sequence <= number:
            self._unacknowledged.popleft()

    def note_handled(self, number: int) -> None:
        """Tell the worker, with the next message or by itself, that a message is on disk."""
        self.handled = number
        self._changed.wake()

    def after(self, number: int) -> Iterable[pb.ConnectResponse]:
        """Return what was numbered above `number` and is not acknowledged."""
        return [message for message in self._unacknowledged if message.sequence > number]

    def seen(self) -> int:
        """Return the count of changes, for `wait`."""
        return self._changed.seen()

    async def wait(self, seen: int) -> None:
        """Wait until there is something to send."""
        await self._changed.wait(seen)


def protocol_error(message: str) -> CoordError:
    """Return the error for a worker that does not keep to the protocol."""
    return invalid_argument("PROTOCOL", message)
