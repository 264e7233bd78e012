"""Looks at every answer and at all disks while a simulation runs, for what must not be."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from coord.times import SECOND
from coord.v1 import coordinator_pb2, integrator_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord_runtime.event_log import events_after

from tests.simulation.checkers import ClaimChecker, HistoryChecker, meet, spec_in
from tests.simulation.git import Repository
from tests.simulation.money import Money
from tests.simulation.rates import Rates
from tests.simulation.worker import SLEEPY
from tests.simulation.world import PROJECT, World

_OVER = {
    integrator_pb2.CHANGE_STATE_CANCELLED,
    integrator_pb2.CHANGE_STATE_EMPTY,
    integrator_pb2.CHANGE_STATE_LANDED,
    integrator_pb2.CHANGE_STATE_REJECTED,
    integrator_pb2.CHANGE_STATE_STALE,
}
_WITH_CLAIMS = {queue_pb2.TASK_STATE_RUNNING, queue_pb2.TASK_STATE_MERGING}
_DONE = {integrator_pb2.CHANGE_STATE_EMPTY, integrator_pb2.CHANGE_STATE_LANDED}
# The answer's way to the integrator, and the move itself.
_LEASED_S = 1.0
_EVENTS: dict[str, Any] = {
    "coordinator": coordinator_pb2.CoordinatorEvent,
    "integrator": integrator_pb2.IntegratorEvent,
    "ledger": ledger_pb2.LedgerEvent,
    "limiter": limiter_pb2.LimiterEvent,
    "queue": queue_pb2.QueueEvent,
}


class Watch:
    """All that must hold of one history.

    Attributes:
        queue: What the queue's events have told.
        changes: The state of each change, by the integrator's events.
        claims: What the coordinator's events have told of claims.
        money: What the ledger's events have told.
    """

    def __init__(self, world: World, repository: Repository | None) -> None:
        self.queue = HistoryChecker(self._spec)
        self.changes: dict[str, int] = {}
        self._cancelled_s: dict[tuple[str, int], float] = {}
        self._at_work: dict[str, str] = {}
        self.claims = ClaimChecker()
        self.money = Money(world)
        self._world = world
        self._repository = repository
        self._seen: Counter[str] = Counter()
        self._leased_s: dict[tuple[str, int], float] = {}
        self._rates = Rates(world)
        self._takers: dict[str, Callable[[Any], None]] = {
            "coordinator": self._take_coordinator,
            "integrator": self._take_integrator,
            "ledger": self.money.take,
            "queue": self._take_queue,
        }
        self._acknowledged: dict[str, Callable[[Any, Any], Iterator[str]]] = {
            "AcquireGrants": self._rates.granted,
            "AddTasks": self._added,
            "CancelTasks": self._ended,
            "CompleteTasks": self._reported,
            "ConfigureBucket": self._rates.configured,
            "FailTasks": self._reported,
            "RecordCosts": self._recorded,
            "ReleaseGrants": self._rates.released,
            "RenewLeases": self._renewed,
            "ReserveFunds": self._reserved,
            "SendMessage": self._sent,
            "SettleGrants": self._rates.settled,
            "SettleReservations": self._settled,
            "SubmitChange": self._submitted,
        }
        world.network.answered = self._answered
        if repository is not None:
            repository.unleased = self._unleased

    def landed(self) -> dict[str, list[int]]:
        """Return the attempts whose change has landed, by task; none of cancelled tasks.

        Between the last look at a change's lease and its landing, its task can be cancelled.
        """
        tokens: dict[str, list[int]] = {}
        cancelled = {task_id for task_id, _ in self._cancelled_s}
        for name, state in self.changes.items():
            task_id, _, token = name.partition("@")
            if state == integrator_pb2.CHANGE_STATE_LANDED and task_id not in cancelled:
                tokens.setdefault(task_id, []).append(int(token))
        return tokens

    def look(self) -> None:
        """Read what the disks have that is new, and compare.

        Raises:
            AssertionError: Something that must hold does not.
        """
        for service in self._world.names:
            for event in self._news(service):
                self._takers.get(service, lambda _: None)(event)
        self._check_queue()
        self.money.check()
        if self._repository is not None:
            self._world.network.broken += self._repository.broken
            self._repository.broken = []
        assert not self._world.network.broken, self._world.network.broken[0]

    def _news(self, service: str) -> Iterator[Any]:
        disk = self._world.disk(service)
        while page := events_after(disk, PROJECT, self._seen[service], _EVENTS[service]):
            for event in page:
                self._seen[service] += 1
                number = event.meta.sequence
                assert number == self._seen[service], f"{service}: events without gaps"
                yield event

    def _check_queue(self) -> None:
        """Compare what the events tell with the tasks."""
        rows = self._world.disk("queue").execute("SELECT id, state FROM tasks").fetchall()
        assert self.queue.states == dict(rows), "the events tell what became of the tasks"

    def _take_queue(self, event: queue_pb2.QueueEvent) -> None:
        self.queue.take(event)
        if event.to_state == queue_pb2.TASK_STATE_CANCELLED:
            self._cancelled_s[event.task_id, event.fencing_token] = self._now_s()
        if event.to_state == queue_pb2.TASK_STATE_RUNNING and event.worker != SLEEPY:
            self._begins(event)
        elif event.to_state not in _WITH_CLAIMS:
            self._at_work.pop(event.task_id, None)

    def _begins(self, event: queue_pb2.QueueEvent) -> None:
        """Check that what an attempt must have before it begins is there: its money, its claims."""
        spec = self._spec(event.task_id)
        query = "SELECT 1 FROM reservations WHERE reservation_id = ?"
        name = f"{event.task_id}@{event.fencing_token}"
        reserved = not spec.HasField("budget") or self._has("ledger", query, name)
        assert reserved, f"{name} began, and nothing was reserved for it"
        for other, worker in self._at_work.items():
            apart = worker == event.worker or not meet(spec.paths, self._spec(other).paths)
            assert apart, f"{name} began while {other} is at work on the same paths"
        self._at_work[event.task_id] = event.worker

    def _spec(self, task_id: str) -> queue_pb2.TaskSpec:
        return spec_in(self._world.disk("queue"), task_id)

    def _take_coordinator(self, event: coordinator_pb2.CoordinatorEvent) -> None:
        if event.HasField("claim"):
            self.claims.take(event.claim)

    def _take_integrator(self, event: integrator_pb2.IntegratorEvent) -> None:
        if event.WhichOneof("kind") != "change_moved":
            return
        change = event.change_moved.change
        name = change.change_id
        assert self.changes.get(name) not in _OVER, f"change {name} has ended twice"
        self.changes[name] = change.state
        if change.state == integrator_pb2.CHANGE_STATE_LANDED:
            self._check_landed(change)
        if change.state == integrator_pb2.CHANGE_STATE_EMPTY:
            self._check_empty(change)

    def _check_landed(self, change: integrator_pb2.Change) -> None:
        assert self._repository is not None
        history = list(self._repository.history(self._repository.at))
        assert change.landed_commit in history, f"{change.change_id} is not on the target"

    def _check_empty(self, change: integrator_pb2.Change) -> None:
        assert self._repository is not None
        contents = self._repository.contents
        left = contents[change.head_commit] - contents[change.base_commit]
        left -= contents[self._repository.at]
        assert not left, f"{change.change_id} is said to change nothing, and has {sorted(left)}"

    # What was answered must be on disk.

    def _answered(self, method: str, request: Any, answer: Any) -> None:
        check = self._acknowledged.get(method)
        for what in check(request, answer) if check else ():
            self._world.network.broken.append(f"{method} has answered what is not so: {what}")

    def _has(self, service: str, query: str, *values: Any) -> bool:
        return self._world.disk(service).execute(query, values).fetchone() is not None

    def _added(self, _: Any, answer: Any) -> Iterator[str]:
        for task_id in answer.task_ids:
            if not self._has("queue", "SELECT 1 FROM tasks WHERE id = ?", task_id):
                yield task_id

    def _ended(self, request: Any, answer: Any) -> Iterator[str]:
        query = "SELECT 1 FROM tasks WHERE id = ? AND state IN (1, 2, 3, 4)"
        for task_id, result in zip(request.task_ids, answer.results, strict=True):
            if not result.HasField("error") and self._has("queue", query, task_id):
                yield task_id

    def _reported(self, request: Any, answer: Any) -> Iterator[str]:
        completes = isinstance(request, queue_pb2.CompleteTasksRequest)
        items: Any = request.completions if completes else request.failures
        for item, result in zip(items, answer.results, strict=True):
            ref = item.attempt
            if not result.HasField("error") and self._world.is_worked_at(ref):
                yield ref.task_id

    def _renewed(self, request: Any, answer: Any) -> Iterator[str]:
        for renewal, result in zip(request.renewals, answer.results, strict=True):
            if result.directive == queue_pb2.LEASE_DIRECTIVE_CONTINUE:
                ref = renewal.attempt
                self._leased_s[ref.task_id, ref.fencing_token] = self._now_s()
        return iter(())

    def _unleased(self, changes: Iterable[str]) -> list[str]:
        """Tell which changes move onto the target though nobody has just asked for their lease."""
        found: list[str] = []
        if self._world.network.has_just_gone_on("integrator"):
            return found  # It had asked before.
        for change in changes:
            task_id, _, token = change.partition("@")
            attempt = (task_id, int(token.partition(".")[0]))
            leased_s = self._leased_s.get(attempt, 0.0)
            if self._now_s() - leased_s > _LEASED_S:
                found.append(f"{change} lands, its lease was asked for at {leased_s:.1f} s")
            cancelled_s = self._cancelled_s.get(attempt, math.inf)
            if self._now_s() - cancelled_s > _LEASED_S:
                found.append(f"{change} lands, and was cancelled at {cancelled_s:.1f} s")
        return found

    def _now_s(self) -> float:
        return self._world.environment.monotonic_ns() / SECOND

    def _submitted(self, _: Any, answer: Any) -> Iterator[str]:
        name = answer.change.change_id
        if not self._has("integrator", "SELECT 1 FROM changes WHERE change_id = ?", name):
            yield name

    def _recorded(self, request: Any, answer: Any) -> Iterator[str]:
        query = "SELECT 1 FROM entries WHERE entry_id = ?"
        for cost, result in zip(request.costs, answer.results, strict=True):
            if not result.HasField("error") and not self._has("ledger", query, cost.entry_id):
                yield cost.entry_id

    def _reserved(self, request: Any, answer: Any) -> Iterator[str]:
        query = "SELECT 1 FROM reservations WHERE reservation_id = ?"
        for one in () if request.check_only else answer.results:
            made = one.HasField("reservation")
            if made and not self._has("ledger", query, one.reservation_id):
                yield one.reservation_id
        if not request.check_only and all(one.HasField("reservation") for one in answer.results):
            yield from self.money.reserved(request)

    def _settled(self, request: Any, answer: Any) -> Iterator[str]:
        query = "SELECT 1 FROM reservations WHERE reservation_id = ? AND state = 'HELD'"
        for one, result in zip(request.settlements, answer.results, strict=True):
            if not result.HasField("error") and self._has("ledger", query, one.reservation_id):
                yield one.reservation_id

    def _sent(self, request: Any, _: Any) -> Iterator[str]:
        query = "SELECT 1 FROM letters WHERE message_id = ?"
        name = request.message.message_id
        if name and not self._has("coordinator", query, name):
            yield name


def done(state: int | None) -> bool:
    """Tell whether a change in this state makes its task COMPLETE."""
    return state in _DONE
