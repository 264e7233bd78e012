"""Questions of workers that wait for their turn at a limit, each once at a time.

Where the limiter or the ledger fails, the question waits, too: it is asked again, later each time,
until there is an answer or its worker takes it back. What they say is wrong with it is a refusal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.peers import pauses

from coord_coordinator.workers import Worker

# The limiter is asked again after this time; the place in line is kept.
TURN_NS = 30 * SECOND
# Those of one worker, and of all: nobody's questions are refused for those of a few others.
_WAITS_OF_WORKER_MAX = 500
_WAITS_MAX = 10_000
# What says nothing of the question.
_FAILED = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    }
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Answer:
    """What there is to tell a worker.

    Attributes:
        said: The message, under the name that it has in ConnectResponse.
        waits: Whether that is no decision yet.
        failed: Whether there is none since who is to decide has failed.
    """

    said: dict[str, Any]
    waits: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Question:
    """A question that may have to wait.

    Attributes:
        asked_id: Its id.
        request: The message that asked it, under the name that it has in ConnectRequest.
        ask: Asks the limiter, which may wait for so many nanoseconds.
        put_off: Tells that it waits, and why, under the name that this has in ConnectResponse.
    """

    asked_id: str
    request: dict[str, Any]
    ask: Callable[[int], Awaitable[Answer]]
    put_off: Callable[[common_pb2.Reason], dict[str, Any]]


class Turns:
    """Answers questions, or tells that they wait and answers them later.

    Args:
        environment: Chance.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._waits: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def hear(self, worker: Worker, question: Question) -> None:
        """Answer a question; on return the answer, or that it waits, is on its way."""
        key = (worker.name, question.asked_id)
        if key in self._waits:
            return
        answer = await _ask(question, 0)
        if answer.waits and not self._has_room(worker.name):
            answer = refused(question.asked_id, "TOO_MANY", "too many calls wait; ask later")
        if not answer.waits:
            _tell(worker, question, answer)
            return
        worker.session.await_answer(question.asked_id, **question.request)
        worker.session.push(**answer.said)
        self._waits[key] = waiting = asyncio.create_task(self._wait(worker, question, answer.said))
        waiting.add_done_callback(lambda _: self._waits.pop(key))

    def end(self, worker: Worker, asked_id: str) -> None:
        """Take a question back, if it waits."""
        if waiting := self._waits.get((worker.name, asked_id)):
            waiting.cancel()
        worker.session.answered(asked_id)

    async def leave(self, worker: str) -> None:
        """Stop waiting for a worker that has gone: nobody would hear the answer, nor give it back.

        Its next session may ask under the same ids.
        """
        await _cancel([wait for (name, _), wait in self._waits.items() if name == worker])

    async def stop(self) -> None:
        """Stop waiting."""
        await _cancel(list(self._waits.values()))

    def _has_room(self, worker: str) -> bool:
        of_worker = sum(name == worker for name, _ in self._waits)
        return of_worker < _WAITS_OF_WORKER_MAX and len(self._waits) < _WAITS_MAX

    async def _wait(self, worker: Worker, question: Question, told: dict[str, Any]) -> None:
        waits = pauses(self._environment)
        while worker.lifecycle != pb.LIFECYCLE_STOPPED:
            answer = await _ask(question, TURN_NS)
            if not answer.waits:
                _tell(worker, question, answer)
                return
            if not answer.failed:
                waits = pauses(self._environment)
                continue
            if answer.said != told:
                told = answer.said
                worker.session.push(**told)
            await asyncio.sleep(next(waits))


def refused(asked_id: str, code: str, message: str) -> Answer:
    """Return a refusal."""
    reason = common_pb2.Reason(code=code, message=message)
    return Answer({"refusal": pb.Refusal(id=asked_id, reason=reason)})


async def _cancel(waits: Sequence[asyncio.Task[None]]) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def _ask(question: Question, wait_ns: int) -> Answer:
    try:
        return await question.ask(wait_ns)
    except CoordError as error:
        if error.code not in _FAILED:
            return refused(question.asked_id, error.reason, error.message)
        log.warning("a question is asked again", asked=question.asked_id, error=str(error))
        reason = common_pb2.Reason(code=error.reason, message=f"asked again: {error.message}")
        return Answer(question.put_off(reason), waits=True, failed=True)


def _tell(worker: Worker, question: Question, answer: Answer) -> None:
    worker.session.push(**answer.said)
    worker.session.answered(question.asked_id)
