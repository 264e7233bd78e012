"""What a handler knows of the call that it answers."""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from coord_runtime.tokens import Principal


@dataclass(frozen=True)
class Once:
    """Names a write, so that its repetition gets the same answer.

    Attributes:
        key: Project, caller, RPC and request id.
        digest: SHA-256 of the request.
        response: Class of the answer.
    """

    key: tuple[str, str, str, str]
    digest: bytes
    response: type[Message]


@dataclass(frozen=True)
class Call:
    """The call that a handler answers.

    Attributes:
        principal: Who calls.
        method: The RPC's name, such as `LeaseTasks`.
        once: Names the write where the caller sent a `request_id`.
    """

    principal: Principal
    method: str
    once: Once | None = None


class Stream(Protocol):
    """A server's end of a bidirectional stream."""

    async def read(self) -> Any:
        """Return the next message, or None once the caller has ended its side."""

    async def write(self, message: Any) -> None:
        """Send a message."""


def once_of(request: Message, principal: Principal, method: str, response: Any) -> Once | None:
    """Return what names the write of `request`; None where it has no request id."""
    request_id = getattr(request, "request_id", "")
    if not request_id:
        return None
    project = getattr(request, "project", "")
    caller = f"{principal.kind}/{principal.name}"
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return Once((project, caller, method, request_id), digest, response)
