"""The request that a worker's next task takes from its rate limits, asked for in their line.

Who only asks whether there is room finds none for as long as others wait. So what a task could not
have at once is asked for by a ticket that stands in line, one at a time for all workers with the
same limits; when it is granted, dispatch looks again, and whichever of them is chosen uses it. Were
it one worker's own, the turn could go from one to the next for ever. If none is, it is given back.
"""

import asyncio

import structlog
from coord.errors import CoordError
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money
from coord_coordinator.turns import TURN_NS
from coord_coordinator.workers import Worker

# Workers that name the same buckets.
_Limits = frozenset[str]

log = structlog.get_logger(__name__)


class Tickets:
    """The tickets of a project's workers, by their limits.

    Args:
        fleet: The workers.
        money: Asks the limiter.
    """

    def __init__(self, fleet: Fleet, money: Money) -> None:
        self._fleet = fleet
        self._money = money
        self._granted: dict[_Limits, str] = {}
        self._reasons: dict[_Limits, common_pb2.Reason] = {}
        self._waits: dict[_Limits, asyncio.Task[None]] = {}

    async def take(self, worker: Worker) -> str | common_pb2.Reason:
        """Return the grant that a task may have at a worker, or why that has to wait."""
        limits = worker.limits
        if limits in self._granted:
            return self._granted.pop(limits)
        if limits in self._waits:
            return self._reasons[limits]
        grant_id = self._fleet.environment.new_id("dispatch-")
        reason = await self._money.rate_wait(grant_id, worker)
        if reason is None:
            return grant_id
        if _may_come(reason):
            self._reasons[limits] = reason
            waiting = self._wait(worker, limits, grant_id)
            self._waits[limits] = wait = asyncio.create_task(waiting)
            wait.add_done_callback(lambda _: self._end(limits))
        return reason

    def reason(self, worker: Worker) -> common_pb2.Reason | None:
        """Return why the limits of a worker let its next task wait; None where none waits."""
        return self._reasons.get(worker.limits)

    def unused(self) -> dict[_Limits, str]:
        """Return the grants that nobody has used yet."""
        return dict(self._granted)

    async def give_back(self, unused: dict[_Limits, str]) -> None:
        """Give grants back that are still not used: no task is there for them."""
        for limits, grant_id in unused.items():
            if self._granted.get(limits) == grant_id:
                del self._granted[limits]
                await self._money.release_grant(grant_id)

    async def stop(self) -> None:
        """Wait no more."""
        waits = list(self._waits.values())
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def _end(self, limits: _Limits) -> None:
        del self._waits[limits], self._reasons[limits]

    async def _wait(self, worker: Worker, limits: _Limits, grant_id: str) -> None:
        while worker.lifecycle == pb.LIFECYCLE_RUNNING:
            try:
                reason = await self._money.rate_wait(grant_id, worker, TURN_NS)
            except CoordError as error:
                log.warning("a ticket was refused", worker=worker.name, error=str(error))
                return
            if reason is None:
                self._granted[limits] = grant_id
                self._fleet.changed.wake()
            if reason is None or not _may_come(reason):
                return
            self._reasons[limits] = reason


def _may_come(reason: common_pb2.Reason) -> bool:
    """Tell whether waiting helps, rather than that it never fits."""
    return "seconds" in reason.metadata
