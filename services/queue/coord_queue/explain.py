"""Why a task is where it is: a pure answer."""

from collections.abc import Sequence

from coord.times import SECOND, timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb


def explain(
    task: pb.Task, unfinished_deps: Sequence[tuple[str, pb.TaskState]], now_ns: int
) -> list[common_pb2.Reason]:
    """Return what holds a task in its state.

    Args:
        task: The task with its attempts.
        unfinished_deps: Its dependencies that are not COMPLETE, with their states.
        now_ns: The wall clock.
    """
    if task.state == pb.TASK_STATE_PENDING:
        return _pending(task, unfinished_deps, now_ns)
    if task.state in (pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING):
        return [_leased(task.attempts[-1], task.state)]
    if task.state == pb.TASK_STATE_MERGING:
        return [_reason("MERGING", "its change waits to land")]
    return [_ended(task)]


def _pending(
    task: pb.Task, unfinished_deps: Sequence[tuple[str, pb.TaskState]], now_ns: int
) -> list[common_pb2.Reason]:
    reasons = [
        _reason(
            "WAITS_FOR_DEPENDENCY",
            f"waits for {dep}, which is {_name(state)}",
            task_id=dep,
            state=pb.TaskState.Name(state),
        )
        for dep, state in unfinished_deps
    ]
    wait_ns = timestamp_ns(task.not_before) - now_ns
    if wait_ns > 0:
        message = f"waits {wait_ns / SECOND:.1f} s before the next attempt"
        reasons.append(_reason("IN_BACKOFF", message, seconds=f"{wait_ns / SECOND:.3f}"))
    return reasons or [_reason("READY", "waits for a worker")]


def _leased(attempt: pb.Attempt, state: pb.TaskState) -> common_pb2.Reason:
    message = f"attempt {attempt.number} is {_name(state)} at worker {attempt.worker}"
    if attempt.progress.summary:
        message += f": {attempt.progress.summary}"
    return _reason(
        "LEASED", message, worker=attempt.worker, fencing_token=str(attempt.fencing_token)
    )


def _ended(task: pb.Task) -> common_pb2.Reason:
    message = f"is {_name(task.state)}"
    if task.message:
        message += f": {task.message}"
    return _reason("ENDED", message, reason=pb.FailureReason.Name(task.reason))


def _name(state: pb.TaskState) -> str:
    return pb.TaskState.Name(state).removeprefix("TASK_STATE_").lower()


def _reason(code: str, message: str, **metadata: str) -> common_pb2.Reason:
    return common_pb2.Reason(code=code, message=message, metadata=metadata)
