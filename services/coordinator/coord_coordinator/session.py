"""The numbers of one session: what was sent, what was handled, what must be sent again."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from coord.errors import CoordError, invalid_argument
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.wakeups import Wakeups

from coord_coordinator.outbox import Outbox
from coord_coordinator.store import AskAnswered, AskWaits, MessageSent, SessionChange

# How long an acknowledgement that nobody waits for may wait for a message to go with.
_COMPANY_S = 0.05


class Session:
    """The coordinator's end of one worker instance's conversation. It outlives its streams.

    Args:
        worker: Whose.
        session_id: Its id.
        outbox: Where what is sent is stored.
        sent: What an earlier coordinator has sent, as far as it is stored.

    Attributes:
        session_id: Its id.
        asks: What the worker has asked for and waits for, by id.
        handled: The worker's highest number whose effect is on disk, and what it was answered.
        due: The highest of them that the worker is to hear of now, if need be by itself.
        failed: Whether a message could not be handled: the worker has to say it again in another
            session.
        silence: How often it was nudged since something was sent.
    """

    def __init__(
        self,
        worker: str,
        session_id: str,
        outbox: Outbox,
        sent: Iterable[pb.ConnectResponse] = (),
    ) -> None:
        self.session_id = session_id
        self.handled = 0
        self.due = 0
        self.asks: dict[str, pb.ConnectRequest] = {}
        self.failed = False
        self.silence = 0
        self._worker = worker
        self._outbox = outbox
        self._over = False
        self._received = 0
        self._unacknowledged = deque(sent)
        self._sent = self._unacknowledged[-1].sequence if self._unacknowledged else 0
        self._stored = self._sent
        self._answering: deque[tuple[int, int, bool]] = deque()
        self._falls_due: asyncio.TimerHandle | None = None
        self._changed = Wakeups()

    def push(self, **message: Any) -> int:
        """Number a message and keep it until the worker has acknowledged it; return the number.

        It is sent once it is on disk.

        Args:
            message: One field of ConnectResponse's oneof.
        """
        self._sent = sequence = self._sent + 1
        response = pb.ConnectResponse(sequence=sequence, **message)
        self._unacknowledged.append(response)
        self._store(MessageSent(self._worker, response), lambda: self._note_stored(sequence))
        return sequence

    def await_answer(self, ask_id: str, **request: Any) -> None:
        """Keep what the worker has asked for until it is answered.

        Args:
            ask_id: Its id.
            request: One field of ConnectRequest's oneof.
        """
        self.asks[ask_id] = asked = pb.ConnectRequest(**request)
        self._store(AskWaits(self._worker, ask_id, asked))

    def answered(self, ask_id: str) -> None:
        """Note that what the worker has asked for is decided, or taken back."""
        if self.asks.pop(ask_id, None) is not None:
            self._store(AskAnswered(self._worker, ask_id))

    def end(self) -> None:
        """Store nothing more: what is kept under the worker's name is another session's."""
        self._over = True

    def go_on(self, confirmed: int) -> None:
        """Go on where an earlier coordinator was, by what the worker knows of it.

        Args:
            confirmed: The worker's highest number that it acknowledged.
        """
        self._received = self.handled = confirmed

    @property
    def backlog(self) -> int:
        """How many messages the worker has not acknowledged."""
        return len(self._unacknowledged)

    @property
    def oldest(self) -> int:
        """The number of the oldest message that can be sent and is not acknowledged; 0 for none."""
        front = self._unacknowledged[0].sequence if self._unacknowledged else 0
        return front if front <= self._stored else 0

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

    def acknowledge(self, number: int) -> list[pb.ConnectResponse]:
        """Forget what the worker has handled; return it.

        Raises:
            CoordError: INVALID_ARGUMENT with reason PROTOCOL for a number that was never sent.
        """
        if number > self._sent:
            raise protocol_error(f"acknowledged {number}, but only {self._sent} were sent")
        handled = []
        while self._unacknowledged and self._unacknowledged[0].sequence <= number:
            handled.append(self._unacknowledged.popleft())
        if handled and not self._over:
            self._outbox.handled(self._worker, number)
        return handled

    def undelivered(self) -> list[pb.ConnectResponse]:
        """Return what the worker has not acknowledged."""
        return list(self._unacknowledged)

    def note_handled(self, number: int, *, has_time: bool = False) -> None:
        """Tell the worker, with the next message or by itself, that a message is on disk.

        It hears of that once what it was told meanwhile is on disk, too: it would not ask again.

        Args:
            number: The message's.
            has_time: Whether nobody waits for that, and there will soon be a message, as a rule.
        """
        self._answering.append((number, self._sent, has_time))
        self._note_answered()

    def after(self, number: int) -> Iterable[pb.ConnectResponse]:
        """Return what can be sent: numbered above `number`, not acknowledged, and on disk."""
        return [one for one in self._unacknowledged if number < one.sequence <= self._stored]

    def seen(self) -> int:
        """Return the count of changes, for `wait`."""
        return self._changed.seen()

    async def wait(self, seen: int) -> None:
        """Wait until there is something to send."""
        await self._changed.wait(seen)

    def nudge(self) -> None:
        """Have an acknowledgement sent where nothing was since the last call."""
        self.silence += 1
        if self.silence > 1:
            self._changed.wake()

    def _store(self, change: SessionChange, stored: Callable[[], None] | None = None) -> None:
        if not self._over:
            self._outbox.add(change, stored)

    def _note_stored(self, sequence: int) -> None:
        self._stored = sequence
        self._note_answered()

    def _note_answered(self) -> None:
        while self._answering and self._answering[0][1] <= self._stored:
            self.handled, _, has_time = self._answering.popleft()
            if not has_time:
                self.due = self.handled
            elif self._falls_due is None:
                loop = asyncio.get_running_loop()
                self._falls_due = loop.call_later(_COMPANY_S, self._fall_due)
        self._changed.wake()

    def _fall_due(self) -> None:
        self.due, self._falls_due = self.handled, None
        self._changed.wake()


def protocol_error(message: str) -> CoordError:
    """Return the error for a worker that does not keep to the protocol."""
    return invalid_argument("PROTOCOL", message)
