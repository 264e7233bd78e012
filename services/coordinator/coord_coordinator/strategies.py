"""Who gets a task: choices among workers that may have it and have room."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from math import inf
from typing import ClassVar

from coord.v1 import queue_pb2

from coord_coordinator.fitness import misfit
from coord_coordinator.workers import Worker

_PATHS_MAX = 10_000
# What comes first outweighs all that follows: a free slot, preference, known paths, then load.
_FREE, _PREFERENCE, _KNOWN = 1e9, 1e6, 1e3


class Strategy(ABC):
    """Gives a task to the worker of the highest score; equals take turns, by name.

    Attributes:
        name: What operators call it.
        queues: Whether tasks queue at workers whose slots are taken, as far as they prefetch.
    """

    name: ClassVar[str]
    queues: ClassVar[bool] = False

    def __init__(self) -> None:
        self._last = ""

    @abstractmethod
    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> float:
        """Tell how well a worker suits a task: higher is better, within one strategy."""

    @abstractmethod
    def why(self, task: queue_pb2.TaskSpec, worker: Worker) -> str:
        """Tell what the score comes from, for people."""

    def choose(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> Worker | None:
        """Return the one of `workers` that is to have a task; None where none may.

        Who comes next changes by `note` alone.

        Args:
            task: The task.
            workers: Who has room, by name.
        """
        turn = bisect_right(workers, self._last, key=lambda one: one.name)
        best, chosen, bound = -inf, None, self.bound(task, workers)
        for worker in chain(islice(workers, turn, None), islice(workers, turn)):
            score = self.score(task, worker)
            if score > best and misfit(worker, task) is None:
                best, chosen = score, worker
                if score >= bound:
                    break
        return chosen

    def ranked(self, task: queue_pb2.TaskSpec, workers: Iterable[Worker]) -> list[Worker]:
        """Return workers in the order in which `choose` would take them, if they may have it."""
        return sorted(
            workers, key=lambda one: (-self.score(task, one), one.name <= self._last, one.name)
        )

    def bound(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> float:
        """Return a score that no worker passes: who has it need not be compared with the rest."""
        del task, workers
        return inf

    def note(self, task: queue_pb2.TaskSpec, worker: Worker) -> None:
        """Note who is given a task."""
        del task
        self._last = worker.name


class RoundRobin(Strategy):
    """Workers in turn."""

    name = "round_robin"

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> float:
        """Tell that every worker is as good as another."""
        del task, worker
        return 0.0

    def why(self, task: queue_pb2.TaskSpec, worker: Worker) -> str:
        """Tell that every worker is as good as another."""
        del task, worker
        return "workers take turns"

    def bound(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> float:
        """Return what every worker has."""
        del task, workers
        return 0.0


class Capability(Strategy):
    """The worker that prefers the task most, then who knows its paths, then the least loaded.

    A task is preferred by the sum of the weights that a worker gives its category and the
    capabilities that it requires.
    """

    name = "capability"

    def __init__(self) -> None:
        super().__init__()
        self._places = Places()

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> float:
        """Weigh preference, known paths and load; earlier ones outweigh later ones."""
        known = _KNOWN * self._places.known(task, worker)
        return _PREFERENCE * _preference(task, worker) + known - worker.load

    def why(self, task: queue_pb2.TaskSpec, worker: Worker) -> str:
        """Tell preference, known paths and load."""
        preference, known = _preference(task, worker), self._places.known(task, worker)
        return f"preference {preference:g}, {known:.0%} of its paths known, load {worker.load:.0%}"

    def bound(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> float:
        """Return what an idle worker has, where nobody prefers anything or knows a path."""
        return inf if task.paths or any(one.has_preferences for one in workers) else 0.0

    def note(self, task: queue_pb2.TaskSpec, worker: Worker) -> None:
        """Note who is given a task, and its paths."""
        super().note(task, worker)
        self._places.note(task, worker)


class WorkStealing(Capability):
    """As `Capability`, but tasks queue where no slot is free, and idle workers take from queues.

    The taking is that of Blumofe and Leiserson, "Scheduling multithreaded computations by work
    stealing", 1999, but from the fullest queue instead of a random one: the coordinator knows them
    all.
    """

    name = "work_stealing"
    queues = True

    def score(self, task: queue_pb2.TaskSpec, worker: Worker) -> float:
        """Weigh a free slot above all that `Capability` weighs."""
        return super().score(task, worker) + (_FREE if worker.free_slots > 0 else 0.0)

    def bound(self, task: queue_pb2.TaskSpec, workers: Sequence[Worker]) -> float:
        """Return what an idle worker has, where nobody prefers anything or knows a path."""
        return _FREE + super().bound(task, workers)

    def why(self, task: queue_pb2.TaskSpec, worker: Worker) -> str:
        """Tell whether a slot is free, then what `Capability` tells."""
        place = "a free slot" if worker.free_slots > 0 else "a place in its queue"
        return f"{place}, {super().why(task, worker)}"


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
    if not worker.has_preferences:
        return 0.0
    weights = worker.hello.preferences
    return sum(weights.get(what, 0.0) for what in {task.category, *task.required_capabilities})
