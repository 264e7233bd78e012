"""What the queue should say, the long way: plain objects, no store, no index, no shortcut."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from coord.times import SECOND, duration_ns, timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

PENDING, ASSIGNED, RUNNING = pb.TASK_STATE_PENDING, pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING
MERGING, COMPLETE = pb.TASK_STATE_MERGING, pb.TASK_STATE_COMPLETE
FAILED, CANCELLED = pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELLED
ABORTED = pb.TASK_STATE_ABORTED
LIVE = (ASSIGNED, RUNNING, MERGING)
UNSUCCESSFUL = (FAILED, CANCELLED, ABORTED)

# The arrows that the contract draws; a new task comes from nowhere.
ARROWS = frozenset(
    {(0, PENDING), (PENDING, ASSIGNED), (ASSIGNED, RUNNING), (PENDING, ABORTED)}
    | {(state, MERGING) for state in (ASSIGNED, RUNNING)}
    | {(state, after) for state in LIVE for after in (COMPLETE, PENDING, FAILED, CANCELLED)}
    | {(PENDING, CANCELLED)}
    | {(state, PENDING) for state in UNSUCCESSFUL}
)

LEASE_NS = 10 * SECOND
AGEING_NS = 60 * SECOND
_MOVES = ("start", "submit")
_LOST, _TIMEOUT = pb.FAILURE_REASON_WORKER_LOST, pb.FAILURE_REASON_TIMEOUT
_FREE = (_LOST, pb.FAILURE_REASON_RATE_LIMITED, pb.FAILURE_REASON_RELEASED)


@dataclass
class Now:
    """Both clocks, in nanoseconds."""

    wall_ns: int
    monotonic_ns: int


@dataclass
class ModelTask:
    """A task, and its newest attempt."""

    spec: pb.TaskSpec
    number: int
    created_ns: int
    deps: list[str]
    state: pb.TaskState = PENDING
    used: int = 0
    lost: int = 0
    backoff_ns: tuple[int, int] = (0, 0)
    began_ns: int = 0
    not_before_ns: int = 0
    token: int = 0
    worker: str = ""
    expires_ns: int = 0
    started_ns: int = 0
    limit_ns: int = 0
    ended: dict[int, pb.FailureReason] = field(default_factory=dict)


class Model:
    """All tasks of a project."""

    def __init__(self) -> None:
        self.tasks: dict[str, ModelTask] = {}
        self.paused: str | None = None
        self.newest_token = 0
        self.added = 0

    # What is asked.

    def deps_left(self, task: ModelTask) -> int:
        return sum(self.tasks[dep].state != COMPLETE for dep in task.deps if dep in self.tasks)

    def ready(self, now: Now) -> list[str]:
        """What could be assigned now, most urgent first."""
        found = [
            (self.rank(task_id), task.number, task_id)
            for task_id, task in self.tasks.items()
            if task.state == PENDING
            and not self.deps_left(task)
            and task.not_before_ns <= now.wall_ns
        ]
        return [] if self.paused is not None else [task_id for _, _, task_id in sorted(found)]

    def rank(self, task_id: str) -> int:
        """How urgent a task is: less is more."""
        task = self.tasks[task_id]
        return task.created_ns + task.spec.priority * AGEING_NS

    def blocked(self, task: ModelTask) -> bool:
        states = [self.tasks[dep].state for dep in task.deps if dep in self.tasks]
        return any(state in UNSUCCESSFUL for state in states)

    def reaches(self, start: str, goal: str) -> bool:
        """Whether one task depends on another, near or far, or is it."""
        left, seen = [start], set[str]()
        while left:
            one = left.pop()
            if one == goal:
                return True
            if one in self.tasks and one not in seen:
                seen.add(one)
                left += self.tasks[one].deps
        return False

    def is_live(self, attempt: common_pb2.AttemptRef, worker: str = "") -> bool:
        task = self.tasks.get(attempt.task_id)
        if task is None or task.state not in LIVE or task.token != attempt.fencing_token:
            return False
        return worker in ("", task.worker)

    # What changes the graph.

    def add(self, specs: Iterable[pb.TaskSpec], now: Now) -> None:
        new = [spec for spec in specs if spec.id not in self.tasks]
        for spec in new:
            self.added += 1
            self.tasks[spec.id] = ModelTask(spec, self.added, now.wall_ns, list(spec.deps))
        for spec in new:
            self._abort_if_blocked(spec.id)

    def depend(self, task_id: str, deps: Iterable[str]) -> None:
        task = self.tasks[task_id]
        task.deps += [dep for dep in dict.fromkeys(deps) if dep not in task.deps]
        self._abort_if_blocked(task_id)

    def remove(self, task_ids: Iterable[str]) -> dict[str, str]:
        """Return for each task why it stays; empty where it goes."""
        answers = dict.fromkeys(task_ids, "HAS_DEPENDENTS")
        while gone := [one for one, why in answers.items() if why and not self._why_kept(one)]:
            for task_id in gone:
                del self.tasks[task_id]
                answers[task_id] = ""
        return {one: why and self._why_kept(one) for one, why in answers.items()}

    def _why_kept(self, task_id: str) -> str:
        if task_id not in self.tasks:
            return "TASK_NOT_FOUND"
        if self.tasks[task_id].state in LIVE:
            return "TASK_LIVE"
        waiting = [one for one in self.tasks.values() if task_id in one.deps]
        return "HAS_DEPENDENTS" if any(one.state != COMPLETE for one in waiting) else ""

    # What moves tasks.

    def assign(self, task_id: str, token: int, worker: str, now: Now) -> None:
        task = self.tasks[task_id]
        assert token > self.newest_token
        self.newest_token = task.token = token
        task.state, task.worker, task.not_before_ns = ASSIGNED, worker, 0
        task.started_ns, task.limit_ns = 0, 0
        task.expires_ns = now.monotonic_ns + LEASE_NS

    def report(
        self,
        kind: str,
        report: Any,
        worker: str,
        now: Now,
    ) -> str:
        """Take a report; return why it has no effect, empty where it has or had it before."""
        attempt = report if isinstance(report, common_pb2.AttemptRef) else report.attempt
        task = self.tasks.get(attempt.task_id)
        if task is None:
            return "TASK_NOT_FOUND"
        if self.is_live(attempt, worker) and (
            kind in _MOVES or not worker or task.state != MERGING
        ):
            getattr(self, f"_{kind}")(task, report, now)
            return ""
        reason = getattr(report, "reason", pb.FAILURE_REASON_RELEASED)
        mine = worker in {"", task.worker}
        done = mine and task.state == COMPLETE and task.token == attempt.fencing_token
        ended = kind in ("fail", "release") and task.ended.get(attempt.fencing_token) == reason
        return "" if ended or (kind == "complete" and done) else "STALE_TOKEN"

    def _start(self, task: ModelTask, _: Any, now: Now) -> None:
        if task.state == ASSIGNED:
            task.state, task.started_ns = RUNNING, now.wall_ns
            self._limit(task, now.monotonic_ns)

    def _submit(self, task: ModelTask, _: Any, __: Now) -> None:
        task.state, task.limit_ns = MERGING, 0

    def _complete(self, task: ModelTask, _: Any, __: Now) -> None:
        task.state = COMPLETE

    def _fail(self, task: ModelTask, report: pb.Failure, now: Now) -> None:
        self.fail(task, report.reason, now, now, timestamp_ns(report.not_before))

    def _release(self, task: ModelTask, _: Any, now: Now) -> None:
        self.fail(task, pb.FAILURE_REASON_RELEASED, now, now)

    def fail(
        self,
        task: ModelTask,
        reason: pb.FailureReason,
        since: Now,
        now: Now,
        wait_until_ns: int = 0,
    ) -> None:
        """End an attempt at some time between `since` and `now`."""
        task.ended[task.token] = reason
        task.used += reason not in _FREE
        task.lost += reason == _LOST
        spent = task.used >= (task.spec.retry_policy.max_attempts or 3)
        if spent or task.lost >= 5 or reason == pb.FAILURE_REASON_OUT_OF_BUDGET:
            task.state = FAILED
            self._abort_dependents(task.spec.id)
            return
        task.state = PENDING
        doublings = 2 * (task.lost - 1) if reason == _LOST else task.used - 1
        waits = reason == _LOST or reason not in _FREE
        nominal_ns = min(SECOND << doublings, 60 * SECOND) if waits else 0
        earliest_ns, latest_ns = since.wall_ns + nominal_ns // 2, now.wall_ns + nominal_ns
        if nominal_ns or wait_until_ns > now.wall_ns:
            task.backoff_ns = max(earliest_ns, wait_until_ns), max(latest_ns, wait_until_ns)

    def cancel(self, task_id: str) -> str:
        """Return why not; empty where it is done."""
        task = self.tasks[task_id]
        if task.state in (*UNSUCCESSFUL, COMPLETE):
            return "TASK_ENDED"
        if task.state in LIVE:
            task.ended[task.token] = pb.FAILURE_REASON_CANCELLED
        task.state, task.not_before_ns = CANCELLED, 0
        self._abort_dependents(task_id)
        return ""

    def retry(self, task_id: str) -> str:
        """Return why not; empty where it is done."""
        task = self.tasks[task_id]
        if task.state not in UNSUCCESSFUL or self.blocked(task):
            return "NOT_RETRYABLE"
        task.state, task.used, task.lost, task.not_before_ns = PENDING, 0, 0, 0
        for other, one in self.tasks.items():
            if task_id in one.deps and one.state == ABORTED:
                self.retry(other)
        return ""

    def restart(self, now: Now) -> None:
        """A new life of the service: every lease has its full time."""
        for task in self.tasks.values():
            task.expires_ns = now.monotonic_ns + LEASE_NS
            task.limit_ns = 0
            if task.state == RUNNING:
                self._limit(task, now.monotonic_ns - (now.wall_ns - task.started_ns))

    def expire(self, since: Now, now: Now) -> None:
        """End what has run out. The service looks each second, and all times are whole seconds."""
        for task in [one for one in self.tasks.values() if one.state in (ASSIGNED, RUNNING)]:
            limit_ns = task.limit_ns or now.monotonic_ns + 1
            if min(limit_ns, task.expires_ns) <= now.monotonic_ns:
                timeout = limit_ns <= max(task.expires_ns, since.monotonic_ns)
                self.fail(task, _TIMEOUT if timeout else _LOST, since, now)

    def follow_clock(self, looked_ns: int) -> None:
        """Begin the backoffs anew that began in the future, as the wall clock had it."""
        for task in self.tasks.values():
            if task.state == PENDING and task.not_before_ns and task.began_ns > looked_ns:
                task.not_before_ns += looked_ns - task.began_ns
                task.began_ns = looked_ns

    def _limit(self, task: ModelTask, started_ns: int) -> None:
        if task.spec.HasField("timeout"):
            task.limit_ns = started_ns + duration_ns(task.spec.timeout) + LEASE_NS

    def _abort_if_blocked(self, task_id: str) -> None:
        if self.tasks[task_id].state == PENDING and self.blocked(self.tasks[task_id]):
            self.tasks[task_id].state, self.tasks[task_id].not_before_ns = ABORTED, 0
            self._abort_dependents(task_id)

    def _abort_dependents(self, task_id: str) -> None:
        for other, one in self.tasks.items():
            if task_id in one.deps:
                self._abort_if_blocked(other)
