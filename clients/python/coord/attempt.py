"""An attempt at work in this process, and what is to be reported of its end."""

import asyncio
import traceback
from enum import Enum

from coord.session import Report
from coord.task import Task, TaskFailed, TaskReleased
from coord.texts import DETAIL_BYTES_MAX, MESSAGE_BYTES_MAX, cut
from coord.times import SECOND, timestamp
from coord.v1 import coordinator_pb2, queue_pb2


class Stop(Enum):
    """Why an attempt is to stop."""

    LOST = "it has lost its lease, or its task was cancelled"
    OUT_OF_BUDGET = "its budget is spent"
    RELEASED = "the worker has given it back"
    TIMEOUT = "its time is over"


_REASONS = {
    Stop.OUT_OF_BUDGET: queue_pb2.FAILURE_REASON_OUT_OF_BUDGET,
    Stop.TIMEOUT: queue_pb2.FAILURE_REASON_TIMEOUT,
}


class Attempt:
    """An attempt that the coordinator has given to this worker.

    Attributes:
        task: What its handler sees.
        handling: The handler at work; None before it has begun.
        stopped: Why it is to stop; None while it is not.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.handling: asyncio.Future[str | None] | None = None
        self.stopped: Stop | None = None

    def stop(self, why: Stop) -> None:
        """Stop it. The first cause counts, but a lost lease above all."""
        if self.stopped is None or why is Stop.LOST:
            self.stopped = why
        if self.handling is not None:
            self.handling.cancel()

    def outcome(self) -> Report | None:
        """Return what to report once its handler has ended, or will not begin; None for nothing."""
        error: BaseException | None = asyncio.CancelledError()
        if self.handling is not None and not self.handling.cancelled():
            error = self.handling.exception()
        if self.stopped is Stop.LOST:
            return None
        if error is None and self.handling is not None:
            message = cut(self.handling.result() or "", MESSAGE_BYTES_MAX)
            return coordinator_pb2.Complete(attempt=self.task.ref, message=message)
        if isinstance(error, TaskReleased):
            return self._released(str(error))
        if self.stopped is Stop.RELEASED:
            return self._released(self.stopped.value)
        return self._failed(self._failure(error))

    def _released(self, message: str) -> Report:
        return coordinator_pb2.Released(
            attempt=self.task.ref, message=cut(message, MESSAGE_BYTES_MAX)
        )

    def _failure(self, error: BaseException | None) -> TaskFailed:
        if self.stopped is not None:
            return TaskFailed(self.stopped.value, reason=_REASONS[self.stopped])
        if isinstance(error, TaskFailed):
            return error
        if isinstance(error, asyncio.CancelledError):
            return TaskFailed("the handler has cancelled itself")
        said = "".join(traceback.format_exception_only(error)).strip()
        return TaskFailed(said, detail="".join(traceback.format_exception(error)))

    def _failed(self, failure: TaskFailed) -> Report:
        failed = coordinator_pb2.Failed(
            attempt=self.task.ref,
            reason=failure.reason,
            message=cut(failure.message, MESSAGE_BYTES_MAX),
            detail=cut(failure.detail, DETAIL_BYTES_MAX),
        )
        if failure.not_before is not None:
            not_before_ns = round(failure.not_before.timestamp() * SECOND)
            failed.not_before.CopyFrom(timestamp(not_before_ns))
        return failed
