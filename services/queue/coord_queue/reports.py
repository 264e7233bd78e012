"""What the items of a batch do within the transaction, and how each is answered."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.rows import ended_attempts
from coord_queue.schema import ENDED, LIVE, UNSUCCESSFUL, Head
from coord_queue.transitions import Moves

# Where an attempt is its worker's.
_IN_HAND = LIVE - {pb.TASK_STATE_MERGING}
# Ends attempts, or moves them on; takes the heads with their reports.
Apply = Callable[[Sequence[tuple[Head, Any]]], None]


@dataclass(frozen=True)
class Rule:
    """How reports of one kind are taken.

    Attributes:
        states: The states in which a report of the live attempt has its effect.
        repeated: Whether one that has none had it before, and so gets the same answer again.
        apply: Gives reports their effect.
    """

    states: frozenset[pb.TaskState]
    repeated: Callable[[Head, Any], bool]
    apply: Apply


def completions(moves: Moves, worker: str) -> Rule:
    """Attempts end with success."""

    def repeated(head: Head, report: pb.Completion) -> bool:
        mine = not worker or head.worker == worker
        done = mine and head.state == pb.TASK_STATE_COMPLETE
        return done and head.token == report.attempt.fencing_token

    return Rule(_held_by(worker), repeated, moves.complete)


def failures(moves: Moves, worker: str) -> Rule:
    """Attempts end without success."""

    def repeated(head: Head, report: pb.Failure) -> bool:
        return _ended_for(moves, head, report.attempt, report.reason)

    return Rule(_held_by(worker), repeated, moves.fail)


def releases(moves: Moves, worker: str) -> Rule:
    """Attempts are given back."""

    def repeated(head: Head, report: pb.Release) -> bool:
        return _ended_for(moves, head, report.attempt, pb.FAILURE_REASON_RELEASED)

    return Rule(_held_by(worker), repeated, moves.release)


def starts(moves: Moves, worker: str) -> Rule:
    """Attempts begin."""

    def repeated(head: Head, report: common_pb2.AttemptRef) -> bool:
        return is_live(head, report, worker)

    states = frozenset({pb.TASK_STATE_ASSIGNED})
    return Rule(states, repeated, lambda done: moves.start([head for head, _ in done]))


def submissions(moves: Moves, worker: str) -> Rule:
    """Attempts go to the merge queue."""

    def repeated(head: Head, report: common_pb2.AttemptRef) -> bool:
        return is_live(head, report, worker)

    return Rule(_IN_HAND, repeated, lambda done: moves.submit([head for head, _ in done]))


def take(moves: Moves, worker: str, reports: Iterable[Any], rule: Rule, response: Any) -> None:
    """Apply reports as if one after another; put how each went into `response.results`."""
    named = [(getattr(one, "attempt", one), one) for one in reports]
    items = [(attempt.task_id, attempt.fencing_token, one) for attempt, one in named]
    known = moves.heads([task_id for task_id, _, _ in items])
    taken: list[bool] = []
    waiting: dict[str, tuple[Head, Any]] = {}
    for task_id, token, report in items:
        if task_id in waiting:  # Twice in a batch: the second one meets what the first has done.
            rule.apply(list(waiting.values()))
            waiting.clear()
        head = known.get(task_id)
        if head is None:
            taken.append(False)
        elif head.token == token and head.state in rule.states and worker in ("", head.worker):
            waiting[task_id] = head, report
            taken.append(True)
        else:
            taken.append(rule.repeated(head, report))
    if waiting:
        rule.apply(list(waiting.values()))
    for (task_id, token, _), done in zip(items, taken, strict=True):
        result, head = response.results.add(), known.get(task_id)
        if done and head is not None:
            result.task_id, result.state = task_id, head.state
        else:
            result.CopyFrom(_refusal(head, task_id, token))


def cancel(moves: Moves, task_ids: Sequence[str], message: str) -> pb.CancelTasksResponse:
    """End tasks by the operator's word."""

    def one(head: Head) -> pb.ReportResult:
        if head.state in ENDED:
            return refused(head, "TASK_ENDED", f"task {head.id!r} has ended already")
        moves.cancel(head, message)
        return pb.ReportResult(task_id=head.id, state=head.state)

    return pb.CancelTasksResponse(results=_each(moves, task_ids, one))


def retry(moves: Moves, task_ids: Sequence[str]) -> pb.RetryTasksResponse:
    """Make tasks that ended without success PENDING again."""

    def one(head: Head) -> pb.ReportResult:
        if head.state not in UNSUCCESSFUL:
            message = f"task {head.id!r} is {name(head.state)}; only a task that failed, was"
            return refused(head, "NOT_RETRYABLE", f"{message} cancelled or aborted can be retried")
        if moves.blocked(head.number):
            message = f"task {head.id!r} depends on one that ended without success: retry that one"
            return refused(head, "NOT_RETRYABLE", message)
        moves.retry(head)
        return pb.ReportResult(task_id=head.id, state=head.state)

    return pb.RetryTasksResponse(results=_each(moves, task_ids, one))


def is_live(head: Head, attempt: common_pb2.AttemptRef, worker: str) -> bool:
    """Tell whether a report is about the live attempt, and its worker's own."""
    mine = not worker or head.worker == worker
    return mine and head.token == attempt.fencing_token and head.state in LIVE


def directive(head: Head | None, attempt: common_pb2.AttemptRef, worker: str) -> pb.LeaseDirective:
    """Tell whether an attempt is to go on."""
    if head is not None and is_live(head, attempt, worker):
        return pb.LEASE_DIRECTIVE_CONTINUE
    mine = head is not None and head.token == attempt.fencing_token
    if head is not None and mine and head.state == pb.TASK_STATE_CANCELLED:
        return pb.LEASE_DIRECTIVE_CANCEL
    return pb.LEASE_DIRECTIVE_REVOKE


def name(state: pb.TaskState) -> str:
    """Return a state's name for people."""
    return pb.TaskState.Name(state).removeprefix("TASK_STATE_").lower()


def refused(head: Head, reason: str, message: str) -> pb.ReportResult:
    """Return the result of an item that has no effect on a task."""
    error = common_pb2.ItemError(reason=reason, message=message)
    return pb.ReportResult(task_id=head.id, state=head.state, error=error)


def unknown(task_id: str) -> pb.ReportResult:
    """Return the result of an item about a task that is not there."""
    message = f"there is no task {task_id!r}"
    error = common_pb2.ItemError(reason="TASK_NOT_FOUND", message=message)
    return pb.ReportResult(task_id=task_id, error=error)


def stale(head: Head, token: int) -> common_pb2.ItemError:
    """Return the error of a report by an attempt that does not hold its task."""
    return common_pb2.ItemError(
        reason="STALE_TOKEN",
        message=f"attempt {token} does not hold task {head.id!r} (any more); stop it",
        metadata={"state": pb.TaskState.Name(head.state), "token": str(head.token)},
    )


def _each(
    moves: Moves, task_ids: Sequence[str], one: Callable[[Head], pb.ReportResult]
) -> list[pb.ReportResult]:
    """Treat tasks one after another: each may change those that follow."""
    results: list[pb.ReportResult] = []
    for task_id in task_ids:
        head = moves.heads([task_id]).get(task_id)
        results.append(one(head) if head else unknown(task_id))
    return results


def _held_by(worker: str) -> frozenset[pb.TaskState]:
    """Return when a report may end its attempt: in MERGING its worker does not hold it."""
    return _IN_HAND if worker else LIVE


def _ended_for(
    moves: Moves, head: Head, attempt: common_pb2.AttemptRef, reason: pb.FailureReason
) -> bool:
    """Tell whether a task's attempt has ended for this reason: the report of it comes again."""
    ended = ended_attempts(moves.sql, head.number)
    return (attempt.fencing_token, reason) in [(one.fencing_token, one.reason) for one in ended]


def _refusal(head: Head | None, task_id: str, token: int) -> pb.ReportResult:
    if head is None:
        return unknown(task_id)
    return pb.ReportResult(task_id=task_id, state=head.state, error=stale(head, token))
