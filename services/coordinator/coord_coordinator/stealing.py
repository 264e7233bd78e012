"""Work stealing: an idle worker gets what waits at the worker with the fullest queue.

Only what has not started, and only after the victim has let go: Recall asks it, Released is its
consent, and the queue's compare-and-swap moves the task under a new fencing token. What was started
meanwhile stays; Started ends the recall.
"""

from collections import Counter
from dataclasses import dataclass

from coord.times import SECOND
from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.fleet import Fleet
from coord_coordinator.loot import fullest_queues, steals
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.services import Services
from coord_coordinator.workers import Worker, WorkerAttempt

# A recall that is not answered in this time stands in nobody's way any more.
_PATIENCE_NS = 5 * SECOND


@dataclass
class _Recall:
    """An attempt that was called back.

    Attributes:
        thief: For whom.
        victim: From whom.
        until_ns: How long to wait for an answer, by the monotonic clock.
        moving: Whether the victim has let go: until the thief has it, its slot is taken.
    """

    thief: str
    victim: str
    until_ns: int
    moving: bool = False


class Stealing:
    """Moves tasks from queues at workers to workers that are idle.

    The margin against thrash: a thief has a free slot for each task that it takes, so that it
    starts at once what the victim would have started later; and a victim is asked for one task at a
    time.
    """

    def __init__(self, fleet: Fleet, services: Services, metrics: CoordinatorMetrics) -> None:
        self._fleet = fleet
        self._services = services
        self._metrics = metrics
        self._recalls: dict[int, _Recall] = {}

    async def recall(self) -> None:
        """Ask the workers with the fullest queues for a task for each free slot of others."""
        self._forget_answered()
        asked = {recall.victim for recall in self._recalls.values()}
        queues = fullest_queues(
            one for one in self._fleet.workers.values() if one.name not in asked
        )
        coming = Counter(recall.thief for recall in self._recalls.values())
        # What takes from a bucket before it begins is given by the dispatch alone, which does that.
        free = self._fleet.free() if queues else []
        thieves = [one for one in free if not one.hello.buckets]
        for thief, victim, attempt in steals(thieves, queues, coming):
            await self._ask(thief, victim, attempt)

    async def take(self, attempt: WorkerAttempt) -> tuple[Worker, queue_pb2.Lease] | None:
        """Move an attempt that its victim has let go; return who has it now. `end` must follow.

        Returns:
            None where it was not recalled, or the thief can use it no more.
        """
        recall = self._recalls.get(attempt.token)
        thief = self._fleet.workers.get(recall.thief) if recall else None
        if recall is None or thief is None or thief.free_slots <= 0:
            return None
        if self._fleet.wait_ns(thief):  # It tries its provider's limit with another one.
            return None
        recall.moving = True
        request = queue_pb2.ReassignTasksRequest(
            project=self._fleet.project,
            reassignments=[queue_pb2.Reassignment(attempt=attempt.ref, worker=thief.name)],
        )
        response = await self._services.insist(self._services.queue.ReassignTasks, request)
        if not response.results[0].HasField("lease"):
            return None
        self._metrics.steals_won.inc()
        await self._tell(thief, recall.victim, attempt, "STOLEN")
        return thief, response.results[0].lease

    def end(self, attempt: WorkerAttempt) -> None:
        """Note that what was to be done about an attempt that its victim has let go is done."""
        self._recalls.pop(attempt.token, None)

    async def _ask(self, thief: Worker, victim: Worker, attempt: WorkerAttempt) -> None:
        until_ns = self._fleet.environment.monotonic_ns() + _PATIENCE_NS
        self._recalls[attempt.token] = _Recall(thief.name, victim.name, until_ns)
        reason = common_pb2.Reason(code="RECALLED", message=f"{thief.name} is idle")
        victim.session.push(recall=pb.Recall(attempt=attempt.ref, reason=reason))
        self._metrics.steals_tried.inc()
        await self._tell(thief, victim.name, attempt, "RECALLED")

    async def _tell(self, thief: Worker, victim: str, attempt: WorkerAttempt, code: str) -> None:
        metadata = {"task": attempt.ref.task_id, "from": victim, "to": thief.name}
        await self._fleet.announce(thief, common_pb2.Reason(code=code, metadata=metadata))

    def _forget_answered(self) -> None:
        """Forget what has started or ended where it was, and what was not answered in time."""
        now_ns = self._fleet.environment.monotonic_ns()
        self._recalls = {
            token: recall
            for token, recall in self._recalls.items()
            if recall.moving or (recall.until_ns > now_ns and self._may_come(recall.victim, token))
        }

    def _may_come(self, victim: str, token: int) -> bool:
        worker = self._fleet.workers.get(victim)
        attempt = worker.attempts.get(token) if worker else None
        return attempt is not None and not attempt.running
