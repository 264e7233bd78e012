"""One run of a graph on a fleet, in virtual time."""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.loot import fullest_queues, steals
from coord_coordinator.strategies import Strategy
from coord_coordinator.workers import Worker, WorkerAttempt

from bench.strategies.graphs import Graph

_PREFETCH = 2
_NO_SESSION: Any = None
_TASK = queue_pb2.TaskSpec()


class Model:
    """A coordinator with its workers, each of one slot.

    Of ready tasks, those go first that unblock most. What the coordinator knows of a worker is as
    old as a message takes, and so is what a worker knows of the coordinator's decisions.
    """

    def __init__(
        self,
        graph: Graph,
        strategy: Strategy,
        unblocks: Sequence[float],
        workers: int,
        latency_s: float,
    ) -> None:
        self._graph, self._strategy, self._latency_s = graph, strategy, latency_s
        self._unblocks = unblocks
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._left = [len(deps) for deps in graph.deps]
        self._ready = [task for task, left in enumerate(self._left) if not left]
        self._workers = [_worker(number, strategy) for number in range(workers)]
        self._queues: dict[str, list[int]] = {one.name: [] for one in self._workers}
        self._at_work: set[str] = set()
        self._recalls: dict[int, tuple[Worker, Worker]] = {}

    def makespan_s(self) -> float:
        self._dispatch()
        while self._events:
            self._now_s, _, event = heapq.heappop(self._events)
            event()
        return self._now_s - self._latency_s

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self._now_s + seconds, self._number, event))

    def _dispatch(self) -> None:
        self._ready.sort(key=lambda task: (-self._unblocks[task], task))
        while self._ready:
            free = [one for one in self._workers if one.room(queues=self._strategy.queues) > 0]
            worker = self._strategy.choose(_TASK, free)
            if worker is None:
                break
            self._strategy.note(_TASK, worker)
            self._give(self._ready.pop(0), worker)
        if self._strategy.queues:
            self._steal()

    def _give(self, task: int, worker: Worker) -> None:
        ref = common_pb2.AttemptRef(task_id=str(task), fencing_token=task)
        attempt = WorkerAttempt(ref, _TASK, 0, started=True)
        worker.attempts[task] = attempt
        self._after(self._latency_s, lambda: self._delivered(task, worker))

    def _delivered(self, task: int, worker: Worker) -> None:
        self._queues[worker.name].append(task)
        self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        queue = self._queues[worker.name]
        if worker.name in self._at_work or not queue:
            return
        task = queue.pop(0)
        self._at_work.add(worker.name)
        self._after(self._latency_s, lambda: self._begun(task, worker))
        self._after(self._graph.durations_s[task], lambda: self._done(task, worker))

    def _begun(self, task: int, worker: Worker) -> None:
        self._recalls.pop(task, None)
        if task in worker.attempts:
            worker.attempts[task].running = True

    def _done(self, task: int, worker: Worker) -> None:
        self._at_work.discard(worker.name)
        self._begin(worker)
        self._after(self._latency_s, lambda: self._completed(task, worker))

    def _completed(self, task: int, worker: Worker) -> None:
        del worker.attempts[task]
        for dependent in self._graph.dependents[task]:
            self._left[dependent] -= 1
            if not self._left[dependent]:
                self._ready.append(dependent)
        self._dispatch()

    def _steal(self) -> None:
        asked = {victim.name for victim, _ in self._recalls.values()}
        coming = Counter(thief.name for _, thief in self._recalls.values())
        queues = fullest_queues(one for one in self._workers if one.name not in asked)
        free = [one for one in self._workers if one.free_slots > 0]
        for thief, victim, attempt in steals(free, queues, coming):
            self._recalls[attempt.token] = victim, thief
            self._after(self._latency_s, partial(self._recalled, attempt.token))

    def _recalled(self, task: int) -> None:
        """Let the victim give back what it has not begun."""
        if task not in self._recalls:
            return
        victim, _ = self._recalls[task]
        if task in self._queues[victim.name]:
            self._queues[victim.name].remove(task)
            self._after(self._latency_s, lambda: self._released(task))

    def _released(self, task: int) -> None:
        victim, thief = self._recalls.pop(task)
        del victim.attempts[task]
        if thief.free_slots > 0:
            self._give(task, thief)
        else:
            self._ready.append(task)
        self._dispatch()


def _worker(number: int, strategy: Strategy) -> Worker:
    prefetch = _PREFETCH if strategy.queues else 0
    hello = pb.Hello(worker=f"w{number:02}", slots=1, prefetch=prefetch, protocol_version=2)
    return Worker(hello, _NO_SESSION, 0, 0, lifecycle=pb.LIFECYCLE_RUNNING)
