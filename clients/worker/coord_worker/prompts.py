"""What an agent is told: the task's prompt, and what came of the attempt before."""

import json

from coord.v1 import queue_pb2

_ENDINGS = {
    queue_pb2.FAILURE_REASON_AGENT_ERROR: "the agent ended with an error",
    queue_pb2.FAILURE_REASON_TIMEOUT: "its time was up",
    queue_pb2.FAILURE_REASON_CHECK_FAILED: "the check was red on the merged result",
    queue_pb2.FAILURE_REASON_CONFLICT: "its change did not merge with what others had landed",
    queue_pb2.FAILURE_REASON_WORKER_LOST: "its worker was lost",
    queue_pb2.FAILURE_REASON_RATE_LIMITED: "the provider's rate limit was hit",
    queue_pb2.FAILURE_REASON_OUT_OF_BUDGET: "its budget was spent",
    queue_pb2.FAILURE_REASON_RELEASED: "it was given back unfinished",
    queue_pb2.FAILURE_REASON_CANCELLED: "it was cancelled",
    queue_pb2.FAILURE_REASON_DEPENDENCY_FAILED: "a dependency failed",
    queue_pb2.FAILURE_REASON_AGENT_CRASHED: "the agent crashed",
    queue_pb2.FAILURE_REASON_REFUSED: "the model declined it",
    queue_pb2.FAILURE_REASON_NO_CHANGE: "it changed nothing, though a change is expected",
    queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE: "the agent could not work",
}
_DETAIL_TITLES = {
    queue_pb2.FAILURE_REASON_CHECK_FAILED: "The check printed:",
    queue_pb2.FAILURE_REASON_CONFLICT: "Both sides of the conflict:",
}


def prompt_bytes(lease: queue_pb2.Lease) -> bytes:
    """Return what the agent reads: its prompt or payload, and after it the hand-off.

    A text ends with a newline, so that a shell's `read` takes its last line for one.
    """
    prompt = lease.spec.prompt
    text = f"{prompt}\n".encode() if prompt[-1:] not in {"", "\n"} else prompt.encode()
    text = text or lease.spec.payload
    if not lease.HasField("previous"):
        return text
    return text.rstrip() + f"\n\n{handoff_text(lease.previous)}\n".encode()


def handoff_text(previous: queue_pb2.Attempt) -> str:
    """Return what the next attempt should know, for people and agents."""
    ending = _ENDINGS.get(previous.reason, "it did not succeed")
    parts = [f"A previous attempt at this task ended because {ending}."]
    if previous.message:
        parts.append(previous.message)
    if previous.progress.summary:
        parts.append(f"It had come this far: {previous.progress.summary}")
    if previous.detail:
        title = _DETAIL_TITLES.get(previous.reason, "The end of its output:")
        parts.append(f"{title}\n\n{previous.detail}")
    parts.append("Its changes are not in this worktree. Do the whole task.")
    return "\n\n".join(parts)


def handoff_json(previous: queue_pb2.Attempt) -> str:
    """Return what came of the attempt before, for programs."""
    known = previous.reason in queue_pb2.FailureReason.values()
    reason = queue_pb2.FailureReason.Name(previous.reason) if known else "AGENT_ERROR"
    fields = {
        "attempt": previous.number,
        "reason": reason.removeprefix("FAILURE_REASON_"),
        "message": previous.message,
        "detail": previous.detail,
        "progress": previous.progress.summary,
    }
    return json.dumps(fields, indent=1)
