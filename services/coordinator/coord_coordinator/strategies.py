"""Who gets a task: choices among workers that may have it and have room."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coord.v1 import queue_pb2

from coord_coordinator.workers import Worker

_PATHS_MAX = 10_000


@dataclass(frozen=True)
class Score:
    """How well a worker suits a task.

    Attributes:
        value: Higher is better, within one strategy.
        why: What it comes from, for people.
    """

    value: float
    why: str


class Strategy(Protocol):
    """Chooses a worker for a task.

    Attributes:
        name: What operators call it.
        queues: Whether tasks queue at workers whose slots are taken, as far as they prefetch.
    """

    name: str
    queues: bool

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return one of `workers`, which all may have the task now; None where there are none."""

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> Score:
        """Explain how a worker suits a task."""


class Turns:
    """Takes names in turn: the first one after the last, in the order of names."""

    def __init__(self) -> None:
        self._last = ""

    def take(self, workers: Iterable[Worker]) -> Worker:
        """Return the worker whose turn it is; there is one at least."""
        chosen = min(workers, key=lambda one: (one.name <= self._last, one.name))
        self._last = chosen.name
        return chosen


class RoundRobin:
    """Workers in turn."""

    name = "round_robin"
    queues = False

    def __init__(self) -> None:
        self._turns = Turns()

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return the worker whose turn it is."""
        del task
        return self._turns.take(workers) if workers else None

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> Score:
        """Explain that every worker is as good as another."""
        del task, worker
        return Score(0.0, "workers take turns")


class Capability:
    """The worker that prefers the task most, then who knows its paths, then the least loaded.

    Among equals, in turn. A task is preferred by the sum of the weights that a worker gives its
    category and the capabilities that it requires.
    """

    name = "capability"
    queues = False

    def __init__(self) -> None:
        self._turns = Turns()
        self._places = Places()

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return the worker that suits the task best."""
        if not workers:
            return None
        ranks = [self._rank(task, one) for one in workers]
        best = max(ranks)
        equals = [one for one, rank in zip(workers, ranks, strict=True) if rank == best]
        chosen = self._turns.take(equals)
        self._places.note(task, chosen)
        return chosen

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> Score:
        """Explain preference, known paths and load; earlier ones outweigh later ones."""
        preference, known, spare = self._rank(task, worker)
        why = f"preference {preference:g}, {known:.0%} of its paths known, load {-spare:.0%}"
        return Score(1_000_000 * preference + 1_000 * known + spare, why)

    def _rank(self, task: queue_pb2.TaskSpec, worker: Worker) -> tuple[float, float, float]:
        return _preference(task, worker), self._places.known(task, worker), -worker.load


class WorkStealing(Capability):
    """As `Capability`, but tasks queue at workers, and idle ones take from the fullest queue.

    The taking is that of Blumofe and Leiserson, "Scheduling multithreaded computations by work
    stealing", 1999, but from the fullest queue instead of a random one: the coordinator knows them
    all.
    """

    name = "work_stealing"
    queues = True


class Places:
    """Who had the tasks on a path last: it has the files at hand, and its changes are its own."""

    def __init__(self) -> None:
        self._workers: OrderedDict[str, str] = OrderedDict()

    def note(self, task: queue_pb2.TaskSpec, worker: Worker) -> None:
        """Note who gets a task."""
        for path in task.paths:
            self._workers[path] = worker.name
            self._workers.move_to_end(path)
        while len(self._workers) > _PATHS_MAX:
            self._workers.popitem(last=False)

    def known(self, task: queue_pb2.TaskSpec, worker: Worker) -> float:
        """Return the share of a task's paths that a worker had last."""
        if not task.paths:
            return 0.0
        return sum(self._workers.get(path) == worker.name for path in task.paths) / len(task.paths)


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    Capability.name: Capability,
    RoundRobin.name: RoundRobin,
    WorkStealing.name: WorkStealing,
}


def _preference(task: queue_pb2.TaskSpec, worker: Worker) -> float:
    weights = worker.hello.preferences
    if not weights:
        return 0.0
    return sum(weights.get(what, 0.0) for what in {task.category, *task.required_capabilities})
