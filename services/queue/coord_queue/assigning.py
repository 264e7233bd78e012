"""Giving tasks to workers, within the transaction."""

from collections.abc import Sequence

from coord.times import timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.ready import Candidate, Wish, candidates, pause_message, ready_tasks
from coord_queue.reports import is_live, name, stale, unknown
from coord_queue.rows import ended_by_token
from coord_queue.transitions import Moves


def lease(moves: Moves, request: pb.LeaseTasksRequest) -> pb.LeaseTasksResponse:
    """Give the first ready tasks that a worker can do to it."""
    able = frozenset(request.capabilities)
    wish = Wish(request.max_tasks, able.issuperset, request.excluded_paths)
    ready = ready_tasks(moves.sql, moves.project, moves.now_ns, wish)
    return pb.LeaseTasksResponse(leases=_leases(moves, ready, request.worker))


def assign(moves: Moves, worker: str, task_ids: Sequence[str]) -> pb.AssignTasksResponse:
    """Give named tasks to a worker, where they are ready."""
    known = candidates(moves.sql, moves.project, task_ids)
    refusals = {one: _refusal(moves, known.get(one), one) for one in task_ids}
    given = [known[one] for one, error in refusals.items() if error is None]
    leases = {one.spec.id: one for one in _leases(moves, given, worker)}
    results: list[pb.AssignTasksResult] = []
    for one in task_ids:
        # A task that is named twice is given once.
        lease, error = leases.pop(one, None), refusals[one]
        if lease is None and error is None:
            error = _not_ready(known[one])
        results.append(pb.AssignTasksResult(task_id=one, lease=lease, error=error))
    return pb.AssignTasksResponse(results=results)


def reassign(moves: Moves, items: Sequence[pb.Reassignment]) -> pb.ReassignTasksResponse:
    """Take assigned tasks from their workers and give them to others."""
    known = candidates(moves.sql, moves.project, [item.attempt.task_id for item in items])
    results = [_reassign(moves, known.get(item.attempt.task_id), item) for item in items]
    return pb.ReassignTasksResponse(results=results)


def _leases(moves: Moves, tasks: Sequence[Candidate], worker: str) -> list[pb.Lease]:
    """Assign ready tasks."""
    if not tasks:
        return []
    previous = ended_by_token(moves.sql, [task.token for task in tasks])
    earlier = [previous.get(task.token) for task in tasks]
    moves.assign(tasks, worker)
    leases: list[pb.Lease] = []
    now = timestamp(moves.now_ns)
    for task, before in zip(tasks, earlier, strict=True):
        lease = pb.Lease(spec=task.full_spec(), previous=before)
        attempt = lease.attempt
        attempt.number, attempt.fencing_token, attempt.worker = task.attempt, task.token, worker
        attempt.assigned_at.CopyFrom(now)
        attempt.ready_at.CopyFrom(timestamp(task.ready_ns))
        leases.append(lease)
    return leases


def _refusal(moves: Moves, task: Candidate | None, task_id: str) -> common_pb2.ItemError | None:
    if task is None:
        return unknown(task_id).error
    waits = task.deps_left > 0 or task.not_before_ns > moves.now_ns
    if task.state != pb.TASK_STATE_PENDING or waits:
        return _not_ready(task)
    if pause_message(moves.sql, moves.project) is not None:
        return _not_ready(task, "the queue is paused")
    return None


def _not_ready(task: Candidate, why: str = "") -> common_pb2.ItemError:
    return common_pb2.ItemError(
        reason="NOT_READY",
        message=f"task {task.id!r} cannot be assigned: {why or f'it is {name(task.state)}'}",
        metadata={"state": pb.TaskState.Name(task.state)},
    )


def _reassign(moves: Moves, task: Candidate | None, item: pb.Reassignment) -> pb.AssignTasksResult:
    task_id, token = item.attempt.task_id, item.attempt.fencing_token
    if task is None:
        return pb.AssignTasksResult(task_id=task_id, error=unknown(task_id).error)
    if not is_live(task, item.attempt, ""):
        return pb.AssignTasksResult(task_id=task_id, error=stale(task, token))
    if task.state != pb.TASK_STATE_ASSIGNED:
        message = f"attempt {token} at task {task_id!r} has started at worker {task.worker}"
        error = common_pb2.ItemError(reason="HAS_STARTED", message=message)
        return pb.AssignTasksResult(task_id=task_id, error=error)
    release = pb.Release(attempt=item.attempt, message=f"given to worker {item.worker} instead")
    moves.release([(task, release)])
    return pb.AssignTasksResult(task_id=task_id, lease=_leases(moves, [task], item.worker)[0])
