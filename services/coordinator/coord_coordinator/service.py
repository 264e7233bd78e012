"""The coordinator: one handler for each RPC, and the loops that assign and watch."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import ClassVar, Self

from coord.room import full_disk
from coord.times import duration, duration_ns, from_seconds
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.calls import Call, Stream
from coord_runtime.checks import MESSAGE_BYTES_MAX, check_id, check_text, check_worker
from coord_runtime.service import Service, ServiceContext
from prometheus_client import Gauge

from coord_coordinator.adoption import Adoption
from coord_coordinator.dispatch import Dispatch
from coord_coordinator.events import MergedEvents
from coord_coordinator.explain import Explainer
from coord_coordinator.fleet import Fleet
from coord_coordinator.liveness import Liveness
from coord_coordinator.money import Money
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.settings import CoordinatorSettings
from coord_coordinator.sqlite import MIGRATIONS, SqliteCoordinatorStore
from coord_coordinator.store import CoordinatorStore
from coord_coordinator.strategies import STRATEGIES
from coord_coordinator.streams import Streams
from coord_coordinator.workers import Worker

_DRAIN_S = 30.0
_LAST_REPORTS_S = 5.0


class CoordinatorService(Service):
    """Holds the live workers, gives them tasks, and merges the events of all services."""

    NAME: ClassVar[str] = "coordinator"
    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["CoordinatorService"]
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset(
        {"Connect", "ExplainDispatch", "GetStatus", "ListWorkers", "WatchEvents"}
    )

    def __init__(self, context: ServiceContext, store: CoordinatorStore) -> None:
        settings = context.settings(CoordinatorSettings)
        services = Services(context.channel, context.environment)
        self._store = store
        self._lifecycle: pb.Lifecycle = pb.LIFECYCLE_INIT
        self._fleet = fleet = Fleet(context.project, context.environment, store)
        money = Money(context.project, services)
        reports = Reports(fleet, services, money, has_repository=settings.repository)
        self._adoption = adoption = Adoption(fleet, services, money, reports)
        full = partial(full_disk, context.folder)
        self._dispatch = Dispatch(
            fleet,
            services,
            money,
            reports,
            STRATEGIES[settings.strategy](),
            has_repository=settings.repository,
            is_running=lambda: self._lifecycle == pb.LIFECYCLE_RUNNING,
            full_disk=full,
        )
        self._liveness = Liveness(fleet, services, reports, adoption, settings)
        self._streams = Streams(fleet, reports, adoption, settings, lambda: self._lifecycle)
        self._explainer = Explainer(
            fleet,
            services,
            self._dispatch,
            money,
            has_repository=settings.repository,
            is_idle=lambda: self._lifecycle == pb.LIFECYCLE_INIT,
            full_disk=full,
        )
        self._events = MergedEvents(services, store)
        self._loops: list[asyncio.Task[None]] = []
        connected = Gauge(
            "coord_coordinator_workers", "Connected workers.", registry=context.registry
        )
        connected.set_function(lambda: len(self._fleet.workers))

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the coordinator on its folder."""
        database = await context.open_database(MIGRATIONS)
        return cls(context, SqliteCoordinatorStore(database))

    async def start(self) -> None:
        """Begin to assign and to watch."""
        self._lifecycle = pb.LIFECYCLE_RUNNING
        loops = (
            self._dispatch.run(),
            self._liveness.run(),
            self._liveness.watch_tasks(),
            self._liveness.watch_budgets(),
            self._adoption.sweep(),
        )
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def drain(self, deadline_s: float) -> None:
        """Assign nothing more, and let the workers finish what they have."""
        self._lifecycle = pb.LIFECYCLE_DRAINING
        workers = list(self._fleet.workers.values())
        await self._drain(workers, from_seconds(deadline_s), "the coordinator shuts down")
        try:
            # What is not done by the deadline comes back as Released, a little later.
            async with asyncio.timeout(deadline_s + _LAST_REPORTS_S):
                while self._fleet.workers:
                    await self._fleet.changed.wait(self._fleet.changed.seen(), 1.0)
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """End the loops, and close the store."""
        self._lifecycle = pb.LIFECYCLE_STOPPED
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._dispatch.stop()
        await self._liveness.stop()
        await self._streams.stop()
        await self._store.close()

    async def connect(self, stream: Stream, call: Call) -> None:
        """Serve one worker's live stream."""
        await self._streams.serve(stream, call)

    async def drain_workers(
        self, request: pb.DrainWorkersRequest, call: Call
    ) -> pb.DrainWorkersResponse:
        """Tell workers to finish and go."""
        del call
        for name in request.workers:
            check_worker("workers", name)
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        wanted = set(request.workers)
        workers = [one for one in self._fleet.workers.values() if not wanted or one.name in wanted]
        deadline_ns = duration_ns(request.deadline) or from_seconds(_DRAIN_S)
        await self._drain(workers, deadline_ns, request.message or "drained by the operator")
        return pb.DrainWorkersResponse(workers=sorted(worker.name for worker in workers))

    async def explain_dispatch(
        self, request: pb.ExplainDispatchRequest, call: Call
    ) -> pb.ExplainDispatchResponse:
        """Explain why a task is not running."""
        del call
        check_id("task_id", request.task_id)
        return await self._explainer.explain(request.task_id)

    async def get_status(self, request: pb.GetStatusRequest, call: Call) -> pb.GetStatusResponse:
        """Tell how dispatch goes."""
        del request, call
        held = [
            pb.HeldTask(task_id=task_id, reason=reason)
            for task_id, reason in self._dispatch.held.items()
        ]
        return pb.GetStatusResponse(
            lifecycle=self._lifecycle, strategy=self._dispatch.strategy.name, held=held
        )

    async def list_workers(
        self, request: pb.ListWorkersRequest, call: Call
    ) -> pb.ListWorkersResponse:
        """List the workers, also those that went lately."""
        del request, call
        return pb.ListWorkersResponse(workers=self._fleet.describe())

    async def watch_events(
        self, request: pb.WatchEventsRequest, call: Call
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Send the events of all services from a cursor on."""
        del call
        async for event in self._events.watch(request.project, request.after):
            yield pb.WatchEventsResponse(events=[event])

    async def _drain(self, workers: Iterable[Worker], deadline_ns: int, message: str) -> None:
        reason = common_pb2.Reason(code="DRAINED", message=message)
        for worker in workers:
            if worker.lifecycle == pb.LIFECYCLE_RUNNING:
                worker.lifecycle = pb.LIFECYCLE_DRAINING
                worker.session.push(drain=pb.Drain(deadline=duration(deadline_ns), reason=reason))
                await self._fleet.tell(worker, "DRAINED", message)
