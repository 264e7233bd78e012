"""Why a task is where it is: a pure answer."""

from collections.abc import Sequence

from coord.times import SECOND, timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.reports import name

DEPS_SHOWN = 100
_ENDINGS = {
    pb.TASK_STATE_FAILED: "has failed",
    pb.TASK_STATE_CANCELLED: "was cancelled",
    pb.TASK_STATE_ABORTED: "was aborted",
}


def explain(
    task: pb.Task,
    unfinished_deps: Sequence[tuple[str, pb.TaskState]],
    paused: str | None,
    now_ns: int,
) -> list[common_pb2.Reason]:
    """Return what holds a task in its state.

    Args:
        task: The task with its attempts.
        unfinished_deps: The first of its dependencies that are not COMPLETE, with their states.
        paused: Why the queue gives out no tasks; None while it does.
        now_ns: The wall clock.
    """
    if task.state == pb.TASK_STATE_PENDING:
        return _pending(task, unfinished_deps, paused, now_ns)
    if task.state in (pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING):
        return [_leased(task.attempts[-1], task.state)]
    if task.state == pb.TASK_STATE_MERGING:
        return [_reason("MERGING", "its change waits to land")]
    return [_ended(task)]


def _pending(
    task: pb.Task,
    unfinished_deps: Sequence[tuple[str, pb.TaskState]],
    paused: str | None,
    now_ns: int,
) -> list[common_pb2.Reason]:
    reasons = [
        _reason(
            "WAITS_FOR_DEPENDENCY",
            f"waits for {dep}, which {_standing(state)}",
            task_id=dep,
            state=pb.TaskState.Name(state),
        )
        for dep, state in unfinished_deps
    ]
    wait_ns = timestamp_ns(task.not_before) - now_ns
    if wait_ns > 0:
        until = task.not_before.ToJsonString()
        message = f"waits {wait_ns / SECOND:.1f} s before the next attempt, until {until}"
        seconds = f"{wait_ns / SECOND:.3f}"
        reasons.append(_reason("IN_BACKOFF", message, seconds=seconds, until=until))
    if paused is not None:
        reasons.append(_reason("PAUSED", f"the queue is paused: {paused}"))
    return reasons or [_reason("READY", "waits for a worker")]


def _leased(attempt: pb.Attempt, state: pb.TaskState) -> common_pb2.Reason:
    message = f"attempt {attempt.number} is {name(state)} at worker {attempt.worker}"
    if attempt.progress.summary:
        message += f": {attempt.progress.summary}"
    return _reason(
        "LEASED", message, worker=attempt.worker, fencing_token=str(attempt.fencing_token)
    )


def _ended(task: pb.Task) -> common_pb2.Reason:
    message = _standing(task.state)
    if task.message:
        message += f": {task.message}"
    return _reason("ENDED", message, reason=pb.FailureReason.Name(task.reason))


def _standing(state: pb.TaskState) -> str:
    return _ENDINGS.get(state, f"is {name(state)}")


def _reason(code: str, message: str, **metadata: str) -> common_pb2.Reason:
    return common_pb2.Reason(code=code, message=message, metadata=metadata)
