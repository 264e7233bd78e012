"""The coordinator: one handler for each RPC, and the loops that assign and watch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import ClassVar, Self

import structlog
from coord.errors import invalid_argument, not_found
from coord.room import full_disk
from coord.times import duration, duration_ns, from_seconds
from coord.v1 import admission_pb2, common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.calls import Call, Stream
from coord_runtime.checks import (
    ITEMS_MAX,
    MESSAGE_BYTES_MAX,
    check_id,
    check_ids,
    check_text,
    check_worker,
)
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind
from prometheus_client import Gauge

from coord_coordinator.admission import Admission
from coord_coordinator.adoption import Adoption
from coord_coordinator.asks import Asks
from coord_coordinator.claim_calls import ClaimCalls
from coord_coordinator.claims import Claims
from coord_coordinator.conflicts import Conflicts
from coord_coordinator.delivery import Delivery
from coord_coordinator.dispatch import Dispatch
from coord_coordinator.events import MergedEvents
from coord_coordinator.explain import Explainer
from coord_coordinator.fleet import Fleet
from coord_coordinator.guard_file import NAME, GuardFile
from coord_coordinator.halt import Halt
from coord_coordinator.liveness import Liveness
from coord_coordinator.mail import OPERATOR, Mail
from coord_coordinator.messages import (
    check_call_request,
    check_call_settlement,
    check_wait,
    check_worker_message,
)
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.money import Money
from coord_coordinator.obstacles import Obstacles
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.settings import CoordinatorSettings
from coord_coordinator.sqlite import MIGRATIONS, SqliteCoordinatorStore
from coord_coordinator.stealing import Stealing
from coord_coordinator.store import CoordinatorStore
from coord_coordinator.strategies import STRATEGIES
from coord_coordinator.streams import Streams
from coord_coordinator.workers import Purse, Worker

_DRAIN_S = 30.0
# The setting that holds the chosen strategy.
_STRATEGY = "strategy"
_LAST_REPORTS_S = 5.0
_LOOP_AGAIN_S = 1.0

log = structlog.get_logger(__name__)


class CoordinatorService(ClaimCalls, Service):
    """Holds the live workers, gives them tasks, and merges the events of all services."""

    NAME: ClassVar[str] = "coordinator"
    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["CoordinatorService"]
    WORKER_METHODS: ClassVar[frozenset[str]] = frozenset(
        {
            "AcquireClaims",
            "Admit",
            "Connect",
            "ExplainDispatch",
            "GetStatus",
            "ListClaims",
            "ListWorkers",
            "Poll",
            "ReleaseClaims",
            "RenewClaims",
            "SendMessage",
            "SettleCalls",
            "WatchEvents",
        }
    )

    def __init__(self, context: ServiceContext, store: CoordinatorStore) -> None:
        settings = context.settings(CoordinatorSettings)
        repository = settings.repository
        services = Services(context.channel, context.environment)
        self._store = store
        self._lifecycle: pb.Lifecycle = pb.LIFECYCLE_INIT
        fleet = Fleet(context.project, context.environment, store)
        purse = Purse(context.project, settings.account)
        money = Money(purse, services)
        metrics = CoordinatorMetrics(context.registry)
        stealing = Stealing(fleet, services, metrics)
        reports = Reports(fleet, services, money, stealing, has_repository=repository)
        self._adoption = adoption = Adoption(fleet, services, money, reports)
        full = partial(full_disk, context.folder)
        self._halt = halt = Halt(fleet, services, reports, store, has_repository=repository)
        self._mail = mail = Mail(fleet, store, metrics)
        claims = Claims(fleet, store, metrics)
        super().__init__(fleet, claims)
        # Beside the folder: the guard is to find it from the state folder alone.
        self._guard = GuardFile(context.folder.parent / NAME, fleet, claims, halt)
        self._admission = admission = Admission(fleet, services, purse, metrics)
        asks = Asks(fleet, services, claims, mail, admission, has_repository=repository)
        self._asks = asks
        self._conflicts = Conflicts(fleet, services, claims, has_repository=repository)
        fleet.farewells.append(claims.end_session)
        obstacles = Obstacles(fleet, halt, lambda: self._lifecycle == pb.LIFECYCLE_RUNNING)
        delivery = Delivery(
            fleet, services, money, reports, claims, obstacles=obstacles, has_repository=repository
        )
        self._dispatch = Dispatch(
            fleet,
            services,
            money,
            delivery,
            STRATEGIES[settings.strategy](),
            full_disk=full,
            obstacles=obstacles,
            claims=claims,
            stealing=stealing,
            metrics=metrics,
        )
        reports.hand_over = self._dispatch.move
        self._liveness = Liveness(
            fleet, services, reports, adoption, claims=claims, money=money, settings=settings
        )
        self._streams = Streams(
            fleet, reports, adoption, asks, settings=settings, lifecycle=lambda: self._lifecycle
        )
        self._explainer = Explainer(
            fleet,
            services,
            self._dispatch,
            money,
            claims,
            obstacles=obstacles,
            has_repository=repository,
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
        service = cls(context, SqliteCoordinatorStore(database))
        service._restore()
        return service

    async def start(self) -> None:
        """Begin to assign and to watch."""
        self._fleet.restore()
        self._claims.on_change = self._halt.on_change = self._guard.write
        self._lifecycle = pb.LIFECYCLE_RUNNING
        loops = (
            self._dispatch.run,
            self._liveness.run,
            self._liveness.watch_workers,
            self._liveness.watch_tasks,
            self._liveness.watch_budgets,
            self._take_up,
            self._adoption.sweep,
            partial(self._adoption.sweep_claims, self._claims),
            self._halt.keep,
            self._claims.run,
            self._mail.run,
            self._conflicts.run,
            self._streams.run,
        )
        self._loops = [asyncio.create_task(_keep(loop)) for loop in loops]

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
        await self._halt.close()
        await self._adoption.stop()
        await self._streams.stop()
        await self._asks.stop()
        await self._admission.stop()
        await self._mail.close()
        await self._fleet.close()
        await self._store.close()
        self._guard.remove()

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
            lifecycle=self._lifecycle,
            strategy=self._dispatch.strategy.name,
            held=held,
            stopped=self._halt.reason,
        )

    async def admit(
        self, request: admission_pb2.AdmitRequest, call: Call
    ) -> admission_pb2.AdmitResponse:
        """Admit a call to a model, or say why not."""
        del call
        check_call_request(request.request)
        wait_ns = check_wait(request.wait)
        return await self._admission.admit(request.worker, request.request, wait_ns)

    async def settle_calls(
        self, request: admission_pb2.SettleCallsRequest, call: Call
    ) -> admission_pb2.SettleCallsResponse:
        """Correct what calls were charged."""
        del call
        for settlement in request.settlements:
            check_call_settlement(settlement)
        results = await self._admission.settle(request.worker, request.settlements)
        return admission_pb2.SettleCallsResponse(results=results)

    async def read_messages(
        self, request: pb.ReadMessagesRequest, call: Call
    ) -> pb.ReadMessagesResponse:
        """Return the operator's messages."""
        del call
        check_ids("read_ids", request.read_ids)
        for message_id in request.read_ids:
            self._mail.acknowledged(OPERATOR, message_id)
        return pb.ReadMessagesResponse(messages=self._mail.unread(OPERATOR)[:ITEMS_MAX])

    async def send_message(
        self, request: pb.SendMessageRequest, call: Call
    ) -> pb.SendMessageResponse:
        """Send a message to workers."""
        check_worker_message(request.message)
        is_worker = call.principal.kind is Kind.WORKER
        sender = call.principal.name if is_worker else OPERATOR
        return pb.SendMessageResponse(workers=await self._mail.send(sender, request.message))

    async def poll(self, request: pb.PollRequest, call: Call) -> pb.PollResponse:
        """Serve one exchange with a worker that keeps no stream."""
        check_wait(request.wait)
        return pb.PollResponse(messages=await self._streams.poll(request, call))

    async def kill_worker(self, request: pb.KillWorkerRequest, call: Call) -> pb.KillWorkerResponse:
        """End a worker now, its work saved."""
        del call
        check_worker("worker", request.worker)
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        worker = self._fleet.workers.get(request.worker)
        if worker is None:
            raise not_found("WORKER_NOT_FOUND", f"no worker {request.worker!r} is there")
        attempts = [attempt.ref for attempt in worker.attempts.values()]
        await self._adoption.bury(worker, request.message or "killed by the operator", "KILLED")
        return pb.KillWorkerResponse(attempts=attempts)

    async def set_strategy(
        self, request: pb.SetStrategyRequest, call: Call
    ) -> pb.SetStrategyResponse:
        """Choose the strategy from the next decision on."""
        del call
        previous = self._dispatch.strategy.name
        await self._choose_strategy(request.strategy)
        return pb.SetStrategyResponse(previous=previous)

    async def stop_project(
        self, request: pb.StopProjectRequest, call: Call
    ) -> pb.StopProjectResponse:
        """Halt everything, its work saved."""
        del call
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        attempts = await self._halt.stop(request.message or "stopped by the operator")
        return pb.StopProjectResponse(attempts=attempts)

    async def resume_project(
        self, request: pb.ResumeProjectRequest, call: Call
    ) -> pb.ResumeProjectResponse:
        """End what StopProject has begun."""
        del request, call
        await self._halt.resume()
        return pb.ResumeProjectResponse()

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

    def _restore(self) -> None:
        """Read what an earlier coordinator has left; also for one that only answers."""
        self._claims.restore()
        self._mail.restore()
        self._halt.restore()
        if chosen := self._store.setting(_STRATEGY):
            self._dispatch.strategy = STRATEGIES[chosen]()

    async def _take_up(self) -> None:
        """Find the attempts of an earlier coordinator, then keep the guard's file."""
        await self._adoption.restore()
        await self._guard.run()

    async def _choose_strategy(self, name: str) -> None:
        if name not in STRATEGIES:
            known = ", ".join(sorted(STRATEGIES))
            raise invalid_argument("UNKNOWN_STRATEGY", f"strategy: one of {known}, not {name!r}")
        reason = common_pb2.Reason(code="STRATEGY_SET", message=name)
        event = pb.CoordinatorEvent(reason=reason)
        await self._store.set(self._fleet.project, _STRATEGY, name, event)
        self._dispatch.strategy = STRATEGIES[name]()
        self._fleet.changed.wake()

    async def _drain(self, workers: Iterable[Worker], deadline_ns: int, message: str) -> None:
        reason = common_pb2.Reason(code="DRAINED", message=message)
        for worker in workers:
            if worker.lifecycle == pb.LIFECYCLE_RUNNING:
                worker.lifecycle = pb.LIFECYCLE_DRAINING
                worker.session.push(drain=pb.Drain(deadline=duration(deadline_ns), reason=reason))
                await self._fleet.tell(worker, "DRAINED", message)


async def _keep(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop to its end, and again where it fails: nobody else would notice."""
    while True:
        try:
            return await loop()
        except Exception:
            log.exception("a loop of the coordinator has failed")
            await asyncio.sleep(_LOOP_AGAIN_S)
