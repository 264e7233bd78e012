"""Conflicts, as agents read of them in their inbox."""

from coord.environment import Environment
from coord.times import timestamp
from coord.v1 import coordinator_pb2

SENDER = "coord"
THREAD = "conflicts"
_OVER = "What is in your worktree conflicts with nobody's work any more.\n"


def as_message(
    conflict: coordinator_pb2.Conflict, environment: Environment
) -> coordinator_pb2.WorkerMessage:
    """Return what the coordinator has told of conflicts as a message."""
    parts = [_told(one) for one in conflict.conflicts]
    return coordinator_pb2.WorkerMessage(
        message_id=environment.new_id("conflict-"),
        sender=SENDER,
        thread=THREAD,
        body="\n".join(parts) or _OVER,
        sent_at=timestamp(environment.now_ns()),
    )


def _told(one: coordinator_pb2.ConflictWith) -> str:
    whose = (
        f"the work of {one.worker} on {one.attempt.task_id}" if one.worker else "what has landed"
    )
    paths = ", ".join(one.paths)
    return f"What is in your worktree conflicts with {whose} in {paths}:\n\n{one.hunks}"
