"""Giving tasks to workers, within the transaction."""

from collections.abc import Iterable, Sequence

from coord.times import duration_ns, set_timestamp, timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.ready import Candidate, Wish, candidates, ready_tasks
from coord_queue.reports import is_live, name, stale, unknown
from coord_queue.rows import ended_by_token
from coord_queue.schema import Head
from coord_queue.store import LiveAttempt
from coord_queue.transitions import Moves


def lease(moves: Moves, worker: str, wish: Wish) -> pb.LeaseTasksResponse:
    """Give the first ready tasks that a worker can do to it."""
    ready = ready_tasks(moves.sql, moves.project, wish)
    response = pb.LeaseTasksResponse()
    _give(moves, ready, [worker] * len(ready), [response.leases.add() for _ in ready])
    return response


def assign(
    moves: Moves, workers: Sequence[str], task_ids: Sequence[str], *, paused: bool
) -> pb.AssignTasksResponse:
    """Give each named task to a worker, where it is ready and the queue is not paused."""
    known = candidates(moves.sql, moves.project, task_ids)
    response = pb.AssignTasksResponse()
    given: dict[str, Candidate] = {}
    takers: list[str] = []
    leases: list[pb.Lease] = []
    for task_id, worker in zip(task_ids, workers, strict=True):
        result = response.results.add(task_id=task_id)
        task = known.get(task_id)
        error = unknown(task_id).error if task is None else _refusal(moves, task, paused=paused)
        if task is None or error is not None or task_id in given:
            result.error.CopyFrom(error or _not_ready(known[task_id].head, "it is named twice"))
        else:
            given[task_id] = task
            takers.append(worker)
            leases.append(result.lease)
    _give(moves, list(given.values()), takers, leases)
    return response


def reassign(moves: Moves, items: Sequence[pb.Reassignment]) -> pb.ReassignTasksResponse:
    """Take assigned tasks from their workers and give them to others."""
    known = candidates(moves.sql, moves.project, [item.attempt.task_id for item in items])
    results = [_reassign(moves, known.get(item.attempt.task_id), item) for item in items]
    return pb.ReassignTasksResponse(results=results)


def _give(
    moves: Moves, tasks: Sequence[Candidate], workers: Sequence[str], leases: Iterable[pb.Lease]
) -> None:
    """Assign ready tasks, each to a worker, and fill in a lease for each."""
    if not tasks:
        return
    heads = [task.head for task in tasks]
    again = [head.token for head in heads if head.token]
    previous = ended_by_token(moves.sql, again) if again else {}
    earlier = [previous.get(head.token) for head in heads]
    moves.assign(heads, workers)
    now_ns, assigned_at = moves.now_ns, timestamp(moves.now_ns)
    for task, before, lease in zip(tasks, earlier, leases, strict=True):
        spec, attempt, head = lease.spec, lease.attempt, task.head
        spec.MergeFromString(task.spec)
        if task.more_deps:
            spec.deps.extend(task.more_deps.split())
        attempt.number, attempt.worker = task.attempt + 1, head.worker
        attempt.fencing_token = head.token
        attempt.assigned_at.CopyFrom(assigned_at)
        set_timestamp(attempt.ready_at, task.ready_ns)
        if before is not None:
            lease.previous.CopyFrom(before)
        timeout_ns = duration_ns(spec.timeout) if spec.HasField("timeout") else 0
        name = moves.project, head.id, head.token, head.worker
        moves.given.append(LiveAttempt(*name, task.ready_ns, now_ns, 0, timeout_ns))


def _refusal(moves: Moves, task: Candidate, *, paused: bool) -> common_pb2.ItemError | None:
    waits = task.head.deps_left > 0 or task.not_before_ns > moves.now_ns
    if task.head.state != pb.TASK_STATE_PENDING or waits:
        return _not_ready(task.head)
    if paused:
        return _not_ready(task.head, "the queue is paused")
    return None


def _not_ready(head: Head, why: str = "") -> common_pb2.ItemError:
    return common_pb2.ItemError(
        reason="NOT_READY",
        message=f"task {head.id!r} cannot be assigned: {why or f'it is {name(head.state)}'}",
        metadata={"state": pb.TaskState.Name(head.state)},
    )


def _reassign(moves: Moves, task: Candidate | None, item: pb.Reassignment) -> pb.AssignTasksResult:
    task_id, token = item.attempt.task_id, item.attempt.fencing_token
    if task is None:
        return pb.AssignTasksResult(task_id=task_id, error=unknown(task_id).error)
    head = task.head
    if not is_live(head, item.attempt, ""):
        return pb.AssignTasksResult(task_id=task_id, error=stale(head, token))
    if head.state != pb.TASK_STATE_ASSIGNED:
        message = f"attempt {token} at task {task_id!r} has started at worker {head.worker}"
        error = common_pb2.ItemError(reason="HAS_STARTED", message=message)
        return pb.AssignTasksResult(task_id=task_id, error=error)
    release = pb.Release(attempt=item.attempt, message=f"given to worker {item.worker} instead")
    moves.release([(head, release)])
    result = pb.AssignTasksResult(task_id=task_id)
    _give(moves, [task], [item.worker], [result.lease])
    return result
