"""The live workers and what they have."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from coord.times import timestamp
from coord.v1 import common_pb2, ledger_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.session import Session

PROTOCOL_VERSION, PROTOCOL_VERSION_MIN = 3, 1
# One that does not name an attempt may be older than the last one that did, and late.
_MISSING_MIN = 2


@dataclass(eq=False)
class WorkerAttempt:
    """An attempt that a worker has.

    Attributes:
        ref: The attempt.
        spec: Its task.
        assigned_ns: When it was assigned.
        budget: The most that it may spend, if it has a reservation.
        grant_id: The grant that was taken for it, if there was one.
        spent: What it has cost, as far as this coordinator knows.
        usage: What it has used, as far as this coordinator knows.
        progress: How far it has come.
        progress_stored: Whether the queue knows `progress`.
        started: Whether its worker has been told of it.
        running: Whether its worker has begun it.
        ending: Whether its last report has come: what the queue says of it is old news.
        stopped: Whether its worker was told to stop it.
        missing: How many times in a row its worker has named what it holds without it, since it
            named it; None where it has never named it.
        overspent: Whether the worker was told to stop it for its costs.
        calls: The ids of its calls whose costs are part of `spent`.
    """

    ref: common_pb2.AttemptRef
    spec: queue_pb2.TaskSpec
    assigned_ns: int
    budget: common_pb2.Money | None = None
    grant_id: str = ""
    spent: common_pb2.Money = field(default_factory=common_pb2.Money)
    usage: common_pb2.Usage = field(default_factory=common_pb2.Usage)
    progress: common_pb2.Progress = field(default_factory=common_pb2.Progress)
    progress_stored: bool = True
    started: bool = False
    running: bool = False
    ending: bool = False
    stopped: bool = False
    missing: int | None = None
    overspent: bool = False
    calls: set[str] = field(default_factory=set)

    @property
    def token(self) -> int:
        """The fencing token."""
        return self.ref.fencing_token

    @property
    def forsaken(self) -> bool:
        """Whether its worker has let go of it without a word.

        It says that it holds an attempt until it is told that its end was heard, or to stop.
        """
        silent = self.missing is not None and self.missing >= _MISSING_MIN
        return silent and not self.ending and not self.stopped

    @property
    def reservation_id(self) -> str:
        """The id of its reservation; the attempt alone decides it, so that a restart finds it."""
        return f"{self.ref.task_id}@{self.token}"


@dataclass(frozen=True)
class Unready:
    """Why a worker gets nothing for a while: no worktree could be prepared for it.

    Attributes:
        reason: What is wrong.
        until_ns: When to try again, by the monotonic clock.
        wait_s: How long that was from the failure.
    """

    reason: common_pb2.Reason
    until_ns: int
    wait_s: float


@dataclass(eq=False)
class Worker:
    """A worker that has said Hello.

    Attributes:
        hello: What it said.
        session: Its conversation.
        lifecycle: Where it stands.
        connected: Whether its stream is open.
        heard_ns: When it was last heard of, by the monotonic clock.
        heard_at_ns: The same by the wall clock.
        attempts: What it has, by fencing token.
        stopping: Fencing tokens of attempts that it was told to stop and has not let go of yet,
            with the number of the message that told it. They keep their slot: until its agent is
            gone, the worktree is in use.
        stream_over: Set when its present stream is to end: a newer one has begun, or it is lost.
        reason: Why it is where it is, where that needs saying.
        unready: Why it gets nothing for a while; None where its last worktree was made ready.
        unavailable: Whether its agent cannot work until somebody mends that.
        oldest: The oldest message that it had not acknowledged at the last look, and since when, by
            the monotonic clock.
        vitality: How sure it was that it is alive, when that was looked at last.
        coming: How many tasks were chosen for it that the queue has not given to it yet.
        restored: Whether its session is from an earlier coordinator, and it has not come back yet.
    """

    hello: pb.Hello
    session: Session
    heard_ns: int
    heard_at_ns: int
    lifecycle: pb.Lifecycle = pb.LIFECYCLE_INIT
    connected: bool = True
    attempts: dict[int, WorkerAttempt] = field(default_factory=dict)
    stopping: dict[int, int] = field(default_factory=dict)
    stream_over: asyncio.Event = field(default_factory=asyncio.Event)
    reason: common_pb2.Reason = field(default_factory=common_pb2.Reason)
    unready: Unready | None = None
    unavailable: bool = False
    coming: int = 0
    restored: bool = False
    vitality: pb.Vitality = pb.VITALITY_ALIVE
    oldest: tuple[int, int] = (0, 0)

    @property
    def version(self) -> int:
        """The version of the protocol that holds for its session."""
        return min(self.hello.protocol_version, PROTOCOL_VERSION)

    @cached_property
    def name(self) -> str:
        """Its name."""
        return self.hello.worker

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What it can do."""
        return frozenset(self.hello.capabilities)

    @cached_property
    def limits(self) -> frozenset[str]:
        """The buckets that each of its tasks takes a request from."""
        return frozenset(self.hello.buckets)

    @cached_property
    def has_preferences(self) -> bool:
        """Whether it does some tasks better than others."""
        return bool(self.hello.preferences)

    @property
    def free_slots(self) -> int:
        """How many more attempts it takes now."""
        if self.lifecycle != pb.LIFECYCLE_RUNNING or not self.connected or self.unavailable:
            return 0
        return self.hello.slots - len(self.attempts) - len(self.stopping) - self.coming

    def room(self, *, queues: bool) -> int:
        """Return how many more attempts it takes now, those in wait included where they queue."""
        free = self.free_slots
        can_queue = queues and self.lifecycle == pb.LIFECYCLE_RUNNING and self.connected
        return free + self.hello.prefetch if can_queue and not self.unavailable else free

    @property
    def load(self) -> float:
        """Share of its slots in use."""
        return (len(self.attempts) + self.coming) / self.hello.slots

    def new_stream(self) -> asyncio.Event:
        """Begin a stream, which ends the one before; return what ends the new one."""
        self.stream_over.set()
        self.stream_over = asyncio.Event()
        self.connected = True
        return self.stream_over

    def stop(self) -> None:
        """Give the worker up: its stream ends, and its next Hello is that of a new session."""
        self.lifecycle = pb.LIFECYCLE_STOPPED
        self.connected = False
        self.stream_over.set()

    def revoke(self, attempt: common_pb2.AttemptRef, message: str) -> None:
        """Tell the worker to stop an attempt that has lost its lease."""
        reason = common_pb2.Reason(code="STALE_TOKEN", message=message)
        self._stop(attempt, revoke=pb.Revoke(attempt=attempt, reason=reason))

    def cancel(self, attempt: common_pb2.AttemptRef) -> None:
        """Tell the worker to stop an attempt whose task was cancelled."""
        reason = common_pb2.Reason(code="CANCELLED", message="the task was cancelled")
        self._stop(attempt, cancel=pb.Cancel(attempt=attempt, reason=reason))

    def _stop(self, attempt: common_pb2.AttemptRef, **message: Any) -> None:
        token = attempt.fencing_token
        self.stopping[token] = self.session.push(**message)
        if token in self.attempts:
            self.attempts[token].stopped = True

    def recall_stops(self, undelivered: Iterable[pb.ConnectResponse]) -> None:
        """Note what an earlier coordinator has told the worker to stop, and it has not heard of."""
        for message in undelivered:
            kind = message.WhichOneof("message")
            if kind in ("revoke", "cancel"):
                ref = message.revoke.attempt if kind == "revoke" else message.cancel.attempt
                self.stopping[ref.fencing_token] = message.sequence

    def holds(self, held: Iterable[common_pb2.AttemptRef], acknowledged: int) -> bool:
        """Note what the worker says that it holds; return whether that frees a slot."""
        tokens = {attempt.fencing_token for attempt in held}
        for token, attempt in self.attempts.items():
            if token in tokens:
                attempt.missing = 0
            elif attempt.missing is not None:
                attempt.missing += 1
        let_go = [
            token
            for token, told in self.stopping.items()
            if token not in tokens and told <= acknowledged
        ]
        for token in let_go:
            del self.stopping[token]
        return bool(let_go)

    def judge(self, now_ns: int, suspect_ns: int) -> pb.Vitality:
        """Return how sure it is that the worker is alive, and note it."""
        if not self.connected:
            self.vitality = pb.VITALITY_AWAY
        elif now_ns - self.heard_ns > suspect_ns:
            self.vitality = pb.VITALITY_SUSPECTED
        else:
            self.vitality = pb.VITALITY_ALIVE
        return self.vitality

    def deaf_ns(self, now_ns: int) -> int:
        """Return for how long it has acknowledged nothing of what it was sent."""
        oldest = self.session.oldest if self.connected else 0
        if not oldest or oldest != self.oldest[0]:
            self.oldest = (oldest, now_ns)
        return now_ns - self.oldest[1]

    def heard(self, monotonic_ns: int, now_ns: int) -> None:
        """Note a sign of life."""
        self.heard_ns, self.heard_at_ns = monotonic_ns, now_ns

    def describe(self) -> pb.Worker:
        """Return the worker as the contract has it."""
        return pb.Worker(
            name=self.name,
            instance=self.hello.instance,
            lifecycle=self.lifecycle,
            connected=self.connected,
            capabilities=self.hello.capabilities,
            profile=self.hello.profile,
            slots=self.hello.slots,
            attempts=[_describe(one) for one in self.attempts.values()],
            heard_at=timestamp(self.heard_at_ns),
            reason=self.reason if self.reason.code else None,
            provider=self.hello.provider,
            vitality=self.vitality,
            roles=self.hello.roles,
            runs=self.hello.runs,
        )


@dataclass(frozen=True)
class Purse:
    """Who pays.

    Attributes:
        project: The project.
        account: The account that it shares with others; empty for none.
    """

    project: str
    account: str = ""

    def scopes(
        self, worker: str = "", spec: queue_pb2.TaskSpec | None = None
    ) -> list[ledger_pb2.Scope]:
        """Return what costs count for, at a worker (empty: at none yet) and of a task."""
        run = spec.labels.get("run", "") if spec else ""
        found = (
            (ledger_pb2.SCOPE_KIND_PROJECT, self.project),
            (ledger_pb2.SCOPE_KIND_TASK, spec.id if spec else ""),
            (ledger_pb2.SCOPE_KIND_WORKER, worker),
            (ledger_pb2.SCOPE_KIND_RUN, run),
            (ledger_pb2.SCOPE_KIND_ACCOUNT, self.account),
        )
        return [ledger_pb2.Scope(kind=kind, id=name) for kind, name in found if name]


def _describe(attempt: WorkerAttempt) -> pb.WorkerAttempt:
    return pb.WorkerAttempt(
        attempt=attempt.ref,
        title=attempt.spec.title,
        progress=attempt.progress if attempt.progress.summary else None,
        assigned_at=timestamp(attempt.assigned_ns),
        spent=attempt.spent if attempt.spent.currency else None,
    )
