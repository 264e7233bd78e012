"""One run of a plan: its tasks are added, its workers started, and its end awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import grpc
import grpc.aio
from coord.environment import SYSTEM
from coord.errors import CoordError, from_rpc
from coord.times import from_seconds
from coord.v1 import queue_pb2
from coord_worker.pool import WorkerPool, WorkerState

from coord_cli.command import Services
from coord_cli.crew import dismiss
from coord_cli.snapshot import Snapshot
from coord_cli.stuck import Reasons, StuckWatch
from coord_cli.watch import PlanWatch

_POLL_S = 0.5
_TASKS_A_POLL = 1_000
_LEAVE_S = 5.0

# What calls end with while a host ends or begins.
TRANSIENT = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
    }
)


class Ending(Enum):
    """Why a run has come to its end."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    SERVICES_LOST = "services lost"
    STUCK = "stuck"


@dataclass
class Interrupts:
    """How often the user has asked the run to stop."""

    count: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self.news.set()


@dataclass(frozen=True)
class Patience:
    """How long a run waits, in seconds.

    Attributes:
        drain_s: For agents to finish after an interrupt.
        stuck_s: For something to become possible again.
        unreachable_s: For services that do not answer, before it asks whether they still run.
    """

    drain_s: float = 60.0
    stuck_s: float = 5.0
    unreachable_s: float = 2.0


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        ending: Why it has ended.
        snapshot: How things stood then.
        stuck: Why open tasks cannot go on, by id, where that is why it ended.
    """

    ending: Ending
    snapshot: Snapshot
    stuck: Reasons = field(default_factory=dict)


class Job:
    """Follows a run to its end.

    Args:
        services: The project's services.
        pool: Its workers, started.
        look: Tells how things stand.
        interrupts: What the user asks for.
        show: Told how things stand, again and again.
        still_there: Tells whether the services still run where they did.
        patience: How long it waits.
        watch: Takes up what is added to the plan. With it only an interrupt ends the run.
    """

    def __init__(
        self,
        services: Services,
        pool: WorkerPool,
        *,
        look: Callable[[], Awaitable[Snapshot]],
        interrupts: Interrupts,
        show: Callable[[Snapshot, Mapping[str, WorkerState], str, Reasons], None],
        still_there: Callable[[], Awaitable[bool]],
        patience: Patience,
        watch: PlanWatch | None = None,
    ) -> None:
        self._services, self._pool, self._take = services, pool, look
        self._interrupts, self._show, self._patience = interrupts, show, patience
        self._still_there, self._watch = still_there, watch
        self._stuck = StuckWatch(services, patience.stuck_s)
        self._drain_until_ns: int | None = None
        self._unreachable_since_ns: int | None = None
        self._news = "" if watch is None else "the plan is watched; Ctrl-C ends the run"

    async def follow(self, snapshot: Snapshot) -> Outcome:
        """Follow the run until it has ended, is stuck, or was interrupted."""
        while True:
            self._show(snapshot, self._pool.states, self._note, self._stuck.waits)
            outcome = await self._judge(snapshot)
            if outcome is not None:
                return outcome
            await self._pause(len(snapshot.tasks))
            await self._take_up()
            snapshot = await self._look(snapshot)

    @property
    def _note(self) -> str:
        if self._unreachable_since_ns is not None:
            return "the services do not answer; waiting for them"
        if self._drain_until_ns is not None:
            return "draining: agents may finish what they have; Ctrl-C again stops at once"
        if self._stuck.full_disk:
            return f"waiting for room: {self._stuck.full_disk}"
        return self._news

    async def _judge(self, snapshot: Snapshot) -> Outcome | None:
        if snapshot.finished and (self._watch is None or self._interrupts.count):
            return Outcome(Ending.FINISHED, snapshot)
        if await self._interrupted(snapshot):
            return Outcome(Ending.INTERRUPTED, snapshot)
        if self._unreachable_since_ns is not None:
            waited_ns = SYSTEM.monotonic_ns() - self._unreachable_since_ns
            late = waited_ns > from_seconds(self._patience.unreachable_s)
            lost = late and not await self._still_there()
            return Outcome(Ending.SERVICES_LOST, snapshot) if lost else None
        if self._drain_until_ns is not None:
            return None
        return await self._stuck_outcome(snapshot)

    async def _stuck_outcome(self, snapshot: Snapshot) -> Outcome | None:
        if self._workers_are_coming(snapshot):
            self._stuck.forget()
            return None
        try:
            reasons = await self._stuck.look(snapshot, SYSTEM.now_ns())
        except grpc.aio.AioRpcError as error:
            self._note_error(from_rpc(error))
            return None
        if reasons and self._watch is not None:
            self._news = f"nothing can go on: {next(iter(reasons.values())).message}"
            return None
        return Outcome(Ending.STUCK, snapshot, reasons) if reasons else None

    async def _take_up(self) -> None:
        """Add what has been added to a plan that is watched."""
        if self._watch is None or self._drain_until_ns is not None:
            return
        try:
            if lines := await self._watch.look(self._services):
                self._news = "\n".join(lines)
        except grpc.aio.AioRpcError as error:
            self._note_error(from_rpc(error))

    def _workers_are_coming(self, snapshot: Snapshot) -> bool:
        """Return whether workers are about to connect, which may take long on a busy machine."""
        connected = {worker.name for worker in snapshot.workers if worker.connected}
        ended = {WorkerState.LEFT, WorkerState.GIVEN_UP}
        states = self._pool.states.items()
        return any(name not in connected and state not in ended for name, state in states)

    async def _interrupted(self, snapshot: Snapshot) -> bool:
        """Begin to drain at the first interrupt; return whether there is nothing to wait for."""
        if self._interrupts.count == 0:
            return False
        if self._drain_until_ns is None:
            await self._drain()
        paused = snapshot.merge_queue.HasField("paused")
        merging = snapshot.counts.get(queue_pb2.TASK_STATE_MERGING, 0) and not paused
        gone = {WorkerState.LEFT, WorkerState.GIVEN_UP}
        done = set(self._pool.states.values()) <= gone and not merging
        late = SYSTEM.monotonic_ns() > (self._drain_until_ns or 0)
        return done or late or self._interrupts.count > 1

    async def _drain(self) -> None:
        patience_s = self._patience.drain_s
        self._drain_until_ns = SYSTEM.monotonic_ns() + from_seconds(patience_s + _LEAVE_S)
        try:
            await dismiss(self._pool, self._services, patience_s)
        except grpc.aio.AioRpcError as error:
            self._note_error(from_rpc(error))

    async def _pause(self, tasks: int) -> None:
        self._interrupts.news.clear()
        try:
            async with asyncio.timeout(_POLL_S * (1 + tasks // _TASKS_A_POLL)):
                await self._interrupts.news.wait()
        except TimeoutError:
            pass

    async def _look(self, before: Snapshot) -> Snapshot:
        try:
            snapshot = await self._take()
        except grpc.aio.AioRpcError as error:
            self._note_error(from_rpc(error))
            return before
        self._unreachable_since_ns = None
        return snapshot

    def _note_error(self, error: CoordError) -> None:
        if error.code not in TRANSIENT:
            raise error
        if self._unreachable_since_ns is None:
            self._unreachable_since_ns = SYSTEM.monotonic_ns()
