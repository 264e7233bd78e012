"""What the coordinator needs of a store: its events, and what its sessions are to survive with."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coord.v1 import claims_pb2
from coord.v1 import coordinator_pb2 as pb


@dataclass(frozen=True)
class SessionBegun:
    """A worker's session has begun; what was kept for an earlier one is of no more use.

    Attributes:
        worker: Whose.
        session_id: Its id.
        hello: What the worker said.
    """

    worker: str
    session_id: str
    hello: pb.Hello


@dataclass(frozen=True)
class SessionEnded:
    """A worker has gone.

    Attributes:
        worker: Whose session it was.
    """

    worker: str


@dataclass(frozen=True)
class MessageSent:
    """A numbered message is about to be sent to a worker.

    Attributes:
        worker: Who gets it.
        message: The message.
    """

    worker: str
    message: pb.ConnectResponse


@dataclass(frozen=True)
class MessagesHandled:
    """A worker has handled its messages up to a number.

    Attributes:
        worker: Who.
        sequence: The number.
    """

    worker: str
    sequence: int


@dataclass(frozen=True)
class AskWaits:
    """What a worker has asked for has to wait, so that it is not asked for again.

    Attributes:
        worker: Who asks.
        ask_id: The id of what it has asked for.
        request: What it has said.
    """

    worker: str
    ask_id: str
    request: pb.ConnectRequest


@dataclass(frozen=True)
class AskAnswered:
    """What a worker has waited for is decided, or taken back.

    Attributes:
        worker: Who has asked.
        ask_id: The id of what it has asked for.
    """

    worker: str
    ask_id: str


SessionChange = SessionBegun | SessionEnded | MessageSent | MessagesHandled | AskWaits | AskAnswered


@dataclass(frozen=True)
class StoredSession:
    """A session as it stands on disk.

    Attributes:
        begun: How it began.
        messages: What was sent and is perhaps not handled, in order; the last one that was sent is
            always there.
        asks: What the worker has asked for and waits for, by id.
    """

    begun: SessionBegun
    messages: list[pb.ConnectResponse]
    asks: dict[str, pb.ConnectRequest]


@dataclass(frozen=True)
class StoredClaim:
    """A claim as it stands on disk.

    Attributes:
        claim: The claim.
        lease_ns: How long its lease is; 0 where it lives with its worker or attempt.
        told: Whether its holder hears of it on its stream.
    """

    claim: claims_pb2.Claim
    lease_ns: int
    told: bool


@dataclass
class ClaimChange:
    """What becomes of claims in one commit.

    Attributes:
        saved: The claims that are new or have changed.
        forgotten: The ids of ended claims that need not be remembered any more.
        last_token: The largest fencing token that was given; 0 where none was.
        after: What to do once it is on disk.
    """

    saved: dict[str, StoredClaim] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    last_token: int = 0
    after: list[Callable[[], object]] = field(default_factory=list)

    def save(self, claim: StoredClaim) -> None:
        """Note a claim that is new or has changed."""
        # Last, so that events tell of an end before what was granted by it.
        self.saved.pop(claim.claim.claim_id, None)
        self.saved[claim.claim.claim_id] = claim


@dataclass(frozen=True)
class Letter:
    """A message and who has not acknowledged it yet.

    Attributes:
        message: The message.
        recipients: Their names.
        expires_ns: When it is worth nothing any more, by the wall clock.
    """

    message: pb.WorkerMessage
    recipients: tuple[str, ...]
    expires_ns: int


class CoordinatorStore(Protocol):
    """Holds what happened to workers, their sessions, claims and messages."""

    async def append(self, project: str, event: pb.CoordinatorEvent) -> None:
        """Store an event; it is on disk on return."""

    async def change_sessions(self, changes: Sequence[SessionChange]) -> None:
        """Store what has become of sessions, in order; all of it is on disk on return."""

    async def change_claims(self, project: str, change: ClaimChange) -> None:
        """Store what has become of claims, with an event for each; on disk on return."""

    async def post(self, project: str, letter: Letter) -> tuple[str, ...] | None:
        """Store a message; return who was to get it, where one of its id was stored before."""

    def recipients(self, message_id: str) -> tuple[str, ...]:
        """Return who was to get a message that is known; nobody where it is not."""

    async def received(self, project: str, receipts: Sequence[tuple[str, str]]) -> None:
        """Store that recipients have handled messages, with an event for the last of each.

        Args:
            project: Whose.
            receipts: Recipients and ids of messages.
        """

    async def expire_letters(self, now_ns: int) -> list[str]:
        """Forget the messages that have expired; return their ids."""

    def letters(self) -> list[Letter]:
        """Return what is not acknowledged, in the order of sending."""

    def setting(self, name: str) -> str:
        """Return what was set; empty where nothing was."""

    async def set(self, project: str, name: str, value: str, event: pb.CoordinatorEvent) -> None:
        """Store a setting, with an event."""

    def claims(self) -> tuple[list[StoredClaim], int]:
        """Return the claims in the order of asking, and the largest fencing token ever given."""

    def sessions(self) -> list[StoredSession]:
        """Return the sessions that have not ended, by worker."""

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.CoordinatorEvent]]:
        """Yield events after a number, then new ones as they come."""

    async def close(self) -> None:
        """Close the store."""
