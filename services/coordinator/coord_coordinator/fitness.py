"""Whether a worker may have a task at all, and now, whatever the strategy."""

from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.fleet import Fleet
from coord_coordinator.workers import Worker

_TASKS_TOLD_MAX = 5


def misfit(worker: Worker, task: queue_pb2.TaskSpec) -> common_pb2.Reason | None:
    """Return why a worker never gets a task as it is; None where it may."""
    missing = [one for one in task.required_capabilities if one not in worker.capabilities]
    if missing:
        return common_pb2.Reason(
            code="MISSING_CAPABILITY",
            message=f"{worker.name} lacks {', '.join(missing)}",
            metadata={"missing": " ".join(missing)},
        )
    run = task.labels.get("run", "")
    if worker.hello.runs and run and run not in worker.hello.runs:
        runs = ", ".join(worker.hello.runs)
        return common_pb2.Reason(
            code="OTHER_RUN",
            message=f"{worker.name} takes tasks of run {runs} alone, not of {run}",
            metadata={"run": run},
        )
    return None


def hindrance(fleet: Fleet, worker: Worker, *, queues: bool) -> common_pb2.Reason | None:
    """Return why a worker is given no task at present; None where it has room.

    Args:
        fleet: The workers.
        worker: One of them.
        queues: Whether tasks queue at workers whose slots are taken.
    """
    if worker.lifecycle != pb.LIFECYCLE_RUNNING:
        return common_pb2.Reason(code="DRAINED", message=worker.reason.message)
    if not worker.connected:
        return common_pb2.Reason(code="AWAY", message="its stream is broken; it may come back")
    if worker.unavailable:
        return common_pb2.Reason(code="AGENT_UNAVAILABLE", message=worker.reason.message)
    if worker.unready is not None and fleet.unready_ns(worker):
        return worker.unready.reason
    if held := fleet.backoff.reason(worker) or fleet.breaker.reason(worker.name):
        return held
    return None if worker.room(queues=queues) > 0 else _busy(worker)


def _busy(worker: Worker) -> common_pb2.Reason:
    tasks = [attempt.ref.task_id for attempt in worker.attempts.values()]
    message = f"is busy with {', '.join(tasks[:_TASKS_TOLD_MAX])}"
    if len(tasks) > _TASKS_TOLD_MAX:
        message += f" and {len(tasks) - _TASKS_TOLD_MAX} more"
    if not tasks:
        message = "has to let go of what it was told to stop"
    return common_pb2.Reason(code="BUSY", message=message)
