"""Questions of workers that wait for their turn at a limit, each once at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from coord.errors import CoordError
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.workers import Worker

# The limiter is asked again after this time; the place in line is kept.
TURN_NS = 30 * SECOND
_WAITS_MAX = 1_000


@dataclass(frozen=True)
class Answer:
    """What there is to tell a worker.

    Attributes:
        said: The message, under the name that it has in ConnectResponse.
        waits: Whether that is no decision yet.
    """

    said: dict[str, Any]
    waits: bool = False


@dataclass(frozen=True)
class Question:
    """A question that may have to wait.

    Attributes:
        asked_id: Its id.
        request: The message that asked it, under the name that it has in ConnectRequest.
        ask: Asks the limiter, which may wait for so many nanoseconds.
    """

    asked_id: str
    request: dict[str, Any]
    ask: Callable[[int], Awaitable[Answer]]


class Turns:
    """Answers questions, or tells that they wait and answers them later."""

    def __init__(self) -> None:
        self._waits: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def hear(self, worker: Worker, question: Question) -> None:
        """Answer a question; on return the answer, or that it waits, is on its way."""
        key = (worker.name, question.asked_id)
        if key in self._waits:
            return
        answer = await question.ask(0)
        if answer.waits and len(self._waits) >= _WAITS_MAX:
            answer = refused(question.asked_id, "TOO_MANY", "too many calls wait; ask later")
        if not answer.waits:
            _tell(worker, question, answer)
            return
        worker.session.await_answer(question.asked_id, **question.request)
        worker.session.push(**answer.said)
        self._waits[key] = waiting = asyncio.create_task(self._wait(worker, question))
        waiting.add_done_callback(lambda _: self._waits.pop(key))

    def end(self, worker: Worker, asked_id: str) -> None:
        """Take a question back, if it waits."""
        if waiting := self._waits.get((worker.name, asked_id)):
            waiting.cancel()
        worker.session.answered(asked_id)

    async def stop(self) -> None:
        """Stop waiting."""
        for wait in self._waits.values():
            wait.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)

    @staticmethod
    async def _wait(worker: Worker, question: Question) -> None:
        while worker.lifecycle != pb.LIFECYCLE_STOPPED:
            try:
                answer = await question.ask(TURN_NS)
            except CoordError as error:
                answer = refused(question.asked_id, error.reason, error.message)
            if not answer.waits:
                _tell(worker, question, answer)
                return


def refused(asked_id: str, code: str, message: str) -> Answer:
    """Return a refusal."""
    reason = common_pb2.Reason(code=code, message=message)
    return Answer({"refusal": pb.Refusal(id=asked_id, reason=reason)})


def _tell(worker: Worker, question: Question, answer: Answer) -> None:
    worker.session.push(**answer.said)
    worker.session.answered(question.asked_id)
