"""Why no worker takes a ready task now."""

from collections.abc import Callable, Sequence

from coord.v1 import common_pb2, queue_pb2

from coord_coordinator.fitness import misfit
from coord_coordinator.fleet import Fleet
from coord_coordinator.halt import Halt
from coord_coordinator.workers import Worker


class Obstacles:
    """What stands between ready tasks and the workers."""

    def __init__(self, fleet: Fleet, halt: Halt, is_running: Callable[[], bool]) -> None:
        self._fleet = fleet
        self._halt = halt
        self._is_running = is_running

    def standstill(self) -> common_pb2.Reason | None:
        """Return why no task at all is given to anybody; None where tasks are."""
        if not self._is_running():
            return _reason("COORDINATOR_DRAINING", "the coordinator takes on nothing new")
        return self._halt.reason

    def find(self, spec: queue_pb2.TaskSpec, *, queues: bool) -> common_pb2.Reason:
        """Return why no worker takes a ready task now.

        Args:
            spec: The task.
            queues: Whether tasks queue at workers.
        """
        standstill = self.standstill()
        if standstill is not None:
            return standstill
        workers = list(self._fleet.workers.values())
        if not workers:
            return _reason("NO_WORKER", "no worker is connected")
        able = [worker for worker in workers if misfit(worker, spec) is None]
        return self._busy(able, queues=queues) if able else _no_able(spec, workers)

    def _busy(self, able: Sequence[Worker], *, queues: bool) -> common_pb2.Reason:
        """Return why none of the workers that can do a task takes it now."""
        working = [worker for worker in able if not worker.unavailable]
        if not working:
            return _reason("AGENT_UNAVAILABLE", able[0].reason.message)
        limited = self._fleet.backoff.soonest(working)
        if limited is not None:
            return limited
        if not any(worker.room(queues=queues) > 0 for worker in working):
            names = ", ".join(sorted(worker.name for worker in working))
            return _reason("ALL_BUSY", f"all workers that can do it are busy: {names}")
        resting = [self._fleet.breaker.reason(worker.name) for worker in working]
        if all(resting) and resting[0] is not None:
            return resting[0]
        unready = [worker.unready for worker in working if self._fleet.unready_ns(worker)]
        if len(unready) == len(working) and unready[0] is not None:
            return unready[0].reason
        return _reason("READY", "is about to be assigned")


def _no_able(spec: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> common_pb2.Reason:
    needed = ", ".join(spec.required_capabilities)
    misfits = [misfit(worker, spec) for worker in workers]
    if all(one is not None and one.code == "MISSING_CAPABILITY" for one in misfits):
        return _reason("MISSING_CAPABILITY", f"no worker can do all of: {needed}")
    run = spec.labels.get("run", "")
    return _reason("OTHER_RUN", f"no worker that can do it takes tasks of run {run or '(none)'}")


def _reason(code: str, message: str) -> common_pb2.Reason:
    return common_pb2.Reason(code=code, message=message)
