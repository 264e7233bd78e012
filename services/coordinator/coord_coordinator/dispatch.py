"""Who gets what, when: ready tasks to free slots."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from coord.errors import CoordError
from coord.times import SECOND, timestamp_ns
from coord.v1 import claims_pb2, common_pb2, queue_pb2
from coord_runtime.globs import Comparison

from coord_coordinator.batches import Batches
from coord_coordinator.claims import Claims
from coord_coordinator.delivery import Delivery, declared
from coord_coordinator.fleet import Fleet
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.money import Money
from coord_coordinator.obstacles import Obstacles
from coord_coordinator.resources import common
from coord_coordinator.services import Services
from coord_coordinator.stealing import Stealing
from coord_coordinator.strategies import Strategy
from coord_coordinator.tickets import Tickets
from coord_coordinator.workers import Worker

_READY_MAX, _PAGE_MIN = 1_000, 32
_HELD_RETRY_S = 1.0
_BACKOFF_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Choice:
    """A task, who is to get it, and the grant that was taken for it, if there is one."""

    spec: queue_pb2.TaskSpec
    worker: Worker
    grant_id: str


@dataclass
class _Round:
    """One look at who could do what.

    Attributes:
        free: The workers that have room for a task, in the order of their names.
        queues: Whether tasks queue at workers.
        chosen: What is still to be assigned.
        declared: What that will claim.
        held: Why tasks are held back, by id.
    """

    free: list[Worker]
    queues: bool
    chosen: list[_Choice] = field(default_factory=list)
    declared: list[claims_pb2.Claim] = field(default_factory=list)
    held: dict[str, common_pb2.Reason] = field(default_factory=dict)

    def take(self, worker: Worker) -> None:
        """Note that a task was chosen for a worker."""
        worker.coming += 1
        if worker.room(queues=self.queues) <= 0:
            self.free.remove(worker)


class Dispatch:
    """Assigns ready tasks.

    Attributes:
        held: Why ready tasks are held back, by task id, as of the last look.
    """

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        money: Money,
        delivery: Delivery,
        strategy: Strategy,
        *,
        full_disk: Callable[[], str],
        obstacles: Obstacles,
        claims: Claims,
        stealing: Stealing,
        metrics: CoordinatorMetrics,
    ) -> None:
        self.strategy = strategy
        self.held: dict[str, common_pb2.Reason] = {}
        self._fleet = fleet
        self._services = services
        self._money = money
        self._delivery = delivery
        self._full_disk = full_disk
        self._obstacles = obstacles
        self._claims = claims
        self._stealing = stealing
        self._metrics = metrics
        self._any_ready = True
        self._tickets = Tickets(fleet, money)
        self._leases = Batches(self._lease_all)

    def limit(self, worker: Worker) -> common_pb2.Reason | None:
        """Return why the limits of a worker let its next task wait; None where none waits."""
        return self._tickets.reason(worker)

    async def run(self) -> None:
        """Assign whenever something has changed, until cancelled."""
        while True:
            seen = self._fleet.changed.seen()
            wait_s, unused = _HELD_RETRY_S, self._tickets.unused()
            try:
                wait_s = await self._round()
                await self._tickets.give_back(unused)
            except CoordError as error:
                log.warning("dispatch had to stop", error=str(error))
            await self._fleet.changed.wait(seen, wait_s)

    async def stop(self) -> None:
        """Stop deliveries that are under way, and waits for rate limits."""
        await asyncio.gather(self._tickets.stop(), self._delivery.stop())

    async def _round(self) -> float:
        """Assign what can be; return after how many seconds to look again by itself."""
        if self._obstacles.standstill() is not None:
            return _BACKOFF_S
        ready = None
        if not self._any_ready and not self.strategy.queues:
            # Mostly so still: to look who is free of thousands that connect would be in vain.
            ready = await self._ready(_PAGE_MIN)
            if not ready.tasks:
                return self._look_again_s(ready)
        round_ = _Round(self._fleet.free(queues=self.strategy.queues), self.strategy.queues)
        if not round_.free:
            return self._until_free_s()
        if self._full_disk():
            return _HELD_RETRY_S
        self.held = round_.held
        try:
            ready = await self._choose(round_, ready)
        finally:
            await self._assign_all(round_.chosen)
        if self.strategy.queues:
            await self._stealing.recall()
        return self._look_again_s(ready)

    async def _choose(
        self, round_: _Round, ready: queue_pb2.ListReadyTasksResponse | None
    ) -> queue_pb2.ListReadyTasksResponse:
        """Choose workers for ready tasks until nobody has room; return the last page of them.

        Args:
            round_: Who has room.
            ready: The first page, if it was asked for already.
        """
        page_size = min(max(2 * len(round_.free), _PAGE_MIN), _READY_MAX)
        ready = ready or await self._ready(page_size)
        while True:
            for spec in ready.tasks:
                if not round_.free:
                    return ready
                reason = await self._try(spec, round_)
                if reason is not None:
                    round_.held[spec.id] = reason
            if not ready.next_page_token or len(round_.held) >= _READY_MAX:
                return ready
            ready = await self._ready(page_size, ready.next_page_token)

    async def _ready(
        self, page_size: int, page_token: str = ""
    ) -> queue_pb2.ListReadyTasksResponse:
        request = queue_pb2.ListReadyTasksRequest(
            project=self._fleet.project, page_size=page_size, page_token=page_token
        )
        ready = await self._services.insist(self._services.queue.ListReadyTasks, request)
        self._any_ready = bool(ready.tasks or page_token)
        return ready

    def _until_free_s(self) -> float:
        """Return after how many seconds the next idle worker is held back no more."""
        wait_ns = self._fleet.soonest_ns()
        return min(_BACKOFF_S, wait_ns / SECOND + 0.001) if wait_ns else _BACKOFF_S

    def _look_again_s(self, ready: queue_pb2.ListReadyTasksResponse) -> float:
        if any(reason.code in ("BUDGET_SPENT", "RATE_LIMITED") for reason in self.held.values()):
            return _HELD_RETRY_S
        if ready.HasField("next_ready_at"):
            wait_ns = timestamp_ns(ready.next_ready_at) - self._fleet.environment.now_ns()
            return min(max(0.0, wait_ns / SECOND) + 0.001, self._until_free_s())
        return self._until_free_s()

    async def _try(self, spec: queue_pb2.TaskSpec, round_: _Round) -> common_pb2.Reason | None:
        """Choose a worker for a task; return why it is held back, if it is.

        What only its best worker would have to wait for does not keep it from the next best.
        """
        held, left = None, round_.free
        while (worker := self.strategy.choose(spec, left)) is not None:
            reason = await self._choose_for(spec, worker, round_)
            if reason is None:
                return None
            held = held or reason
            left = [one for one in left if _may_instead(one, worker, reason)]
        return held or self._obstacles.find(spec, queues=round_.queues)

    async def _choose_for(
        self, spec: queue_pb2.TaskSpec, worker: Worker, round_: _Round
    ) -> common_pb2.Reason | None:
        """Choose a task for a worker, unless it would have to wait there; return for what."""
        if spec.paths and (claimed := await self._claimed(declared(spec, worker), round_)):
            return claimed
        shortage = await self._money.shortage(spec, worker.name)
        if shortage is not None and shortage.code == "TASK_BUDGET_SPENT":
            await self._end_spent(spec, worker, shortage.message)
            return None
        if shortage is not None:
            return shortage
        grant_id = ""
        if worker.limits:
            ticket = await self._tickets.take(worker)
            if isinstance(ticket, common_pb2.Reason):
                return ticket
            grant_id = ticket
        round_.take(worker)
        if spec.paths:
            round_.declared.append(declared(spec, worker))
        self.strategy.note(spec, worker)
        self._fleet.backoff.begin(worker)
        round_.chosen.append(_Choice(spec, worker, grant_id))
        if not self._fleet.may_have_more(worker):
            # It is the one that tries its provider's limit, or shows that it can work.
            round_.free = [one for one in round_.free if self._fleet.may_have_more(one)]
        return None

    async def _claimed(self, claim: claims_pb2.Claim, round_: _Round) -> common_pb2.Reason | None:
        """Return who has what a task declares, those included who were chosen in this round."""
        comparison = Comparison()
        if any(common(claim, one, comparison) is not None for one in round_.declared):
            # These paths are claimed once the task before has its attempt.
            await self._assign_all(round_.chosen)
            round_.declared.clear()
        return self._claims.obstacle(claim, comparison)

    async def _assign_all(self, chosen: list[_Choice]) -> None:
        """Assign what was chosen, all of it at once, and empty the list."""
        now = chosen.copy()
        chosen.clear()
        await asyncio.gather(*map(self._assign, now))

    async def _assign(self, choice: _Choice) -> None:
        worker, lease = choice.worker, None
        try:
            lease = await self._lease(choice.spec, worker)
        finally:
            worker.coming -= 1
            if lease is None and choice.grant_id:
                await self._money.release_grant(choice.grant_id)
        if lease is None:
            return
        self._metrics.dispatched.labels(self.strategy.name).inc()
        queues = self.strategy.queues
        await self._delivery.begin(worker, lease, choice.grant_id, queues=queues)

    async def move(self, worker: Worker, lease: queue_pb2.Lease) -> None:
        """Deliver an attempt that was another worker's, with the claims that the other had."""
        await self._claims.end_attempt(lease.previous.fencing_token)
        self.strategy.note(lease.spec, worker)
        self._fleet.backoff.begin(worker)
        await self._delivery.begin(worker, lease, queues=self.strategy.queues)

    async def _end_spent(self, spec: queue_pb2.TaskSpec, worker: Worker, message: str) -> None:
        """End a task whose own budget was spent by attempts that were lost: none can follow."""
        lease = await self._lease(spec, worker)
        if lease is not None:
            reason = queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
            await self._delivery.fail(worker, lease, reason, message)

    async def _lease(self, spec: queue_pb2.TaskSpec, worker: Worker) -> queue_pb2.Lease | None:
        """Give a task to a worker; None where it is not ready any more."""
        result = await self._leases.add((spec.id, worker.name))
        return result.lease if result.HasField("lease") else None

    async def _lease_all(
        self, pairs: list[tuple[str, str]]
    ) -> Sequence[queue_pb2.AssignTasksResult]:
        task_ids, workers = zip(*pairs, strict=True)
        request = queue_pb2.AssignTasksRequest(
            project=self._fleet.project, task_ids=task_ids, workers=workers
        )
        return (await self._services.ask(self._services.queue.AssignTasks, request)).results


def _may_instead(one: Worker, worker: Worker, reason: common_pb2.Reason) -> bool:
    """Tell whether a worker may start a task now for which another one would have to wait."""
    if one is worker or one.free_slots <= 0:
        return False
    if reason.code == "RATE_LIMITED":
        return one.limits != worker.limits
    if reason.code == "CLAIMED":
        return one.name == reason.metadata.get("holder")
    return reason.metadata.get("scope", "").startswith("worker/")
