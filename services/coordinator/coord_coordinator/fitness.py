"""Whether a worker may have a task at all, whatever the strategy."""

from coord.v1 import common_pb2, queue_pb2

from coord_coordinator.workers import Worker


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
