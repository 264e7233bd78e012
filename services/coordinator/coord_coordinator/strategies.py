"""Who gets a task: pure choices among workers with a free slot."""

from collections.abc import Callable, Sequence
from typing import Protocol

from coord.v1 import queue_pb2

from coord_coordinator.workers import Worker


class Strategy(Protocol):
    """Chooses a worker for a task."""

    name: str

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return one of `workers`, which all have a free slot; None where none fits."""


class RoundRobin:
    """Workers in turn, among those that can do the task."""

    name = "round_robin"

    def __init__(self) -> None:
        self._last = ""

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return the first able worker after the last one chosen, by name."""
        able = sorted((one for one in workers if can_do(one, task)), key=lambda one: one.name)
        if not able:
            return None
        chosen = next((one for one in able if one.name > self._last), able[0])
        self._last = chosen.name
        return chosen


class Capability:
    """The able worker that prefers the task's category most; ties go to the least loaded."""

    name = "capability"

    def __init__(self) -> None:
        self._turns = RoundRobin()

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return the best able worker; among equals, in turn."""
        able = [one for one in workers if can_do(one, task)]
        if not able:
            return None

        def score(worker: Worker) -> tuple[float, float]:
            return worker.hello.preferences.get(task.category, 0.0), -worker.load

        best = max(score(one) for one in able)
        return self._turns.choose(task, [one for one in able if score(one) == best])


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    Capability.name: Capability,
    RoundRobin.name: RoundRobin,
}


def can_do(worker: Worker, task: queue_pb2.TaskSpec) -> bool:
    """Tell whether a worker has all that a task requires."""
    return worker.capabilities.issuperset(task.required_capabilities)
