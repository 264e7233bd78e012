"""What a worker asks its coordinator on the stream, and the answers, by id."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc

from coord.errors import CoordError
from coord.session import Report
from coord.v1 import coordinator_pb2

# A coordinator that has started anew may not know of a call that waits for its bucket. To ask
# again gets the same answer.
_AGAIN_S = 30.0


class Questions:
    """Asks, and waits for what comes back under the same id.

    Args:
        send: Says something to the coordinator.
    """

    def __init__(self, send: Callable[[Report], object]) -> None:
        self._send = send
        self._asked: dict[str, asyncio.Future[Any]] = {}

    async def ask(self, question_id: str, question: Report) -> Any:
        """Ask; return the answer.

        Raises:
            CoordError: FAILED_PRECONDITION, with the reason for which it is refused.
        """
        answer = self._asked[question_id] = asyncio.get_running_loop().create_future()
        try:
            while True:
                self._send(question)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        return await asyncio.shield(answer)
        finally:
            del self._asked[question_id]

    def hear(self, response: coordinator_pb2.ConnectResponse) -> None:
        """Take a message that may be an answer; those to no open question are passed over."""
        match response.WhichOneof("message"):
            case "call_admission":
                self._settle(response.call_admission.call_id, response.call_admission)
            case "conflict":
                self._settle(response.conflict.check_id, response.conflict)
            case "proceed":
                self._settle(response.proceed.claim.claim_id, response.proceed.claim)
            case "rate_grant":
                self._settle(response.rate_grant.rate_id, response.rate_grant)
            case "refusal":
                reason = response.refusal.reason
                code = grpc.StatusCode.FAILED_PRECONDITION
                refused = CoordError(code, reason.code, reason.message, dict(reason.metadata))
                self._settle(response.refusal.id, refused)

    def _settle(self, question_id: str, answer: Any) -> None:
        asked = self._asked.get(question_id)
        if asked is None or asked.done():
            return
        if isinstance(answer, CoordError):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)
