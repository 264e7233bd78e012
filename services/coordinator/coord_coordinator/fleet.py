"""Who is there: workers come, fall silent, come back, and go."""

from collections.abc import Awaitable, Callable
from itertools import chain

from coord.environment import Environment
from coord.errors import CoordError, already_exists, unavailable
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.wakeups import Wakeups

from coord_coordinator.backoff import Backoff
from coord_coordinator.breaker import Breaker
from coord_coordinator.outbox import Outbox
from coord_coordinator.session import Session
from coord_coordinator.store import CoordinatorStore, SessionBegun, SessionEnded
from coord_coordinator.workers import Worker, WorkerAttempt

_GONE_MAX = 100


class Fleet:
    """The workers of a project.

    Attributes:
        project: The project.
        environment: Time.
        workers: Those that are there, by name.
        gone: Those that went lately, by name.
        backoff: The limits that its workers have hit.
        breaker: The workers that fail while others do not.
        changed: Woken whenever a worker or its load changes.
        newest_token: The largest fencing token of an attempt that was given to a worker.
        farewells: Called with the name of each worker that goes.
    """

    def __init__(self, project: str, environment: Environment, store: CoordinatorStore) -> None:
        self.project = project
        self.workers: dict[str, Worker] = {}
        self.gone: dict[str, Worker] = {}
        self.backoff = Backoff(environment)
        self.breaker = Breaker(environment)
        self.changed = Wakeups()
        self.newest_token = 0
        self.environment = environment
        self.farewells: list[Callable[[str], Awaitable[None]]] = []
        self._store = store
        self._outbox = Outbox(store)

    async def close(self) -> None:
        """Store what workers are still to be told."""
        await self._outbox.close()

    def restore(self) -> None:
        """Take up the sessions that an earlier coordinator has left; they may come back."""
        for stored in self._store.sessions():
            begun, now = stored.begun, self.environment
            session = Session(begun.worker, begun.session_id, self._outbox, stored.messages)
            session.asks = stored.asks
            worker = Worker(begun.hello, session, now.monotonic_ns(), now.now_ns())
            worker.lifecycle = pb.LIFECYCLE_RUNNING
            worker.connected, worker.restored = False, True
            self.workers[worker.name] = worker

    def resume(self, hello: pb.Hello) -> Worker | None:
        """Return the worker whose session goes on; None for one that is new.

        Raises:
            CoordError: UNAVAILABLE with reason PARTING while a worker of that name is given up.
        """
        worker = self.workers.get(hello.worker)
        if worker is not None and worker.lifecycle == pb.LIFECYCLE_STOPPED:
            raise _parting(hello.worker)
        if worker is None or worker.hello.instance != hello.instance or worker.session.failed:
            return None
        # Without an id it has not heard of the session, or speaks a version that has none; then it
        # cannot tell where it was before a restart of ours.
        if hello.session_id != worker.session.session_id and (hello.session_id or worker.restored):
            return None
        self.hear(worker)
        return worker

    def check_stays(self, worker: Worker) -> None:
        """Check that a worker was not given up while it was taken in.

        Raises:
            CoordError: UNAVAILABLE with reason PARTING.
        """
        gone = self.workers.get(worker.name) is not worker
        if gone or worker.lifecycle == pb.LIFECYCLE_STOPPED:
            raise _parting(worker.name)

    def rival(self, hello: pb.Hello) -> Worker | None:
        """Return the earlier instance of a worker's name that is not there any more.

        Raises:
            CoordError: ALREADY_EXISTS with reason WORKER_CONNECTED where it still is.
        """
        worker = self.workers.get(hello.worker)
        if worker is not None and worker.connected and worker.hello.instance != hello.instance:
            raise _connected(hello.worker)
        return worker

    def join(self, hello: pb.Hello) -> Worker:
        """Take in a new instance; it gets nothing before `welcome`."""
        now = self.environment
        session = Session(hello.worker, now.new_id("session-"), self._outbox)
        worker = Worker(hello, session, now.monotonic_ns(), now.now_ns())
        self._outbox.add(SessionBegun(worker.name, session.session_id, hello))
        self.workers[worker.name] = worker
        self.gone.pop(worker.name, None)
        return worker

    def forget(self, worker: Worker) -> None:
        """Undo `join`: the session is over."""
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]
            worker.session.end()
            self._outbox.add(SessionEnded(worker.name))

    async def welcome(self, worker: Worker) -> None:
        """Let a worker be given tasks."""
        worker.lifecycle = pb.LIFECYCLE_RUNNING
        await self.tell(worker, "CONNECTED", "the worker has connected")
        self.changed.wake()

    async def part(self, worker: Worker, code: str, message: str) -> None:
        """Let a worker go."""
        worker.stop()
        worker.vitality = pb.VITALITY_LOST if code == "LOST" else pb.VITALITY_AWAY
        self.forget(worker)
        self.gone[worker.name] = worker
        self._forget_long_gone()
        for farewell in self.farewells:
            await farewell(worker.name)
        await self.tell(worker, code, message)
        self.changed.wake()

    def _forget_long_gone(self) -> None:
        """Forget who went before many others, and how it has done; who comes back soon is known."""
        while len(self.gone) > _GONE_MAX:
            worker = self.gone.pop(next(iter(self.gone)))
            if worker.name not in self.workers:
                self.breaker.forget(worker.name)
                self.backoff.forget(worker, chain(self.workers.values(), self.gone.values()))

    async def tell(self, worker: Worker, code: str, message: str) -> None:
        """Store where a worker stands now, and why."""
        worker.reason = common_pb2.Reason(code=code, message=message)
        await self.announce(worker, worker.reason)

    async def announce(self, worker: Worker, reason: common_pb2.Reason) -> None:
        """Store an event about a worker."""
        event = pb.CoordinatorEvent(
            worker=worker.name,
            instance=worker.hello.instance,
            lifecycle=worker.lifecycle,
            reason=reason,
        )
        await self._store.append(self.project, event)

    def hear(self, worker: Worker) -> None:
        """Note a sign of life."""
        worker.heard(self.environment.monotonic_ns(), self.environment.now_ns())

    def hear_all(self) -> None:
        """Begin to count every worker's silence anew."""
        for worker in self.workers.values():
            self.hear(worker)

    async def look(self, suspect_ns: int) -> None:
        """Look how sure it is that each worker is alive; tell where that has changed.

        Args:
            suspect_ns: After how long a silence a worker with an open stream is suspected.
        """
        now_ns = self.environment.monotonic_ns()
        for worker in list(self.workers.values()):
            before, now = worker.vitality, worker.judge(now_ns, suspect_ns)
            if now != before and worker.lifecycle != pb.LIFECYCLE_STOPPED:
                await self.announce(worker, _vitality(worker, now_ns))

    def silent(self, grace_ns: int) -> list[Worker]:
        """Return the workers that were not heard of for longer than `grace_ns`."""
        oldest_ns = self.environment.monotonic_ns() - grace_ns
        return [
            one
            for one in self.workers.values()
            if one.heard_ns < oldest_ns and one.lifecycle != pb.LIFECYCLE_STOPPED
        ]

    def deaf(self, grace_ns: int) -> list[Worker]:
        """Return the workers that talk, but have acknowledged nothing new for `grace_ns`."""
        now_ns = self.environment.monotonic_ns()
        return [
            one
            for one in self.workers.values()
            if one.lifecycle != pb.LIFECYCLE_STOPPED and one.deaf_ns(now_ns) > grace_ns
        ]

    def give(self, worker: Worker, attempt: WorkerAttempt) -> None:
        """Note that a worker has an attempt."""
        worker.attempts[attempt.token] = attempt
        self.newest_token = max(self.newest_token, attempt.token)

    def take(self, worker: Worker, token: int) -> WorkerAttempt | None:
        """Note that a worker does not have an attempt any more."""
        attempt = worker.attempts.pop(token, None)
        self.changed.wake()
        return attempt

    def free(self, *, queues: bool = False) -> list[Worker]:
        """Return the workers that can be given a task now, by name.

        Args:
            queues: Whether tasks queue at workers whose slots are taken.
        """
        free = [one for one in self.workers.values() if one.room(queues=queues) > 0]
        if not self._is_clear:
            free = [one for one in free if self.may_have_more(one)]
        return sorted(free, key=lambda one: one.name)

    @property
    def _is_clear(self) -> bool:
        """Whether nobody who is there is held back."""
        held = not self.backoff.is_clear or not self.breaker.is_clear
        return not held and not any(one.unready for one in self.workers.values())

    def may_have_more(self, worker: Worker) -> bool:
        """Tell whether a worker is not held back; who is to show that it can work gets one task."""
        busy = worker.attempts or worker.coming
        return not self.wait_ns(worker) and not (busy and self.breaker.is_trying(worker.name))

    def soonest_ns(self) -> int:
        """Return after how long the first of the idle workers is held back no more; 0 for none."""
        if self._is_clear:
            return 0
        idle = (worker for worker in self.workers.values() if worker.free_slots > 0)
        return min(filter(None, map(self.wait_ns, idle)), default=0)

    def wait_ns(self, worker: Worker) -> int:
        """Return for how long a worker is given nothing; 0 where it may be."""
        return max(
            self.backoff.wait_ns(worker),
            self.breaker.wait_ns(worker.name),
            self.unready_ns(worker),
        )

    def unready_ns(self, worker: Worker) -> int:
        """Return how long to wait before a worktree is prepared for a worker again."""
        if worker.unready is None:
            return 0
        return max(worker.unready.until_ns - self.environment.monotonic_ns(), 0)

    def describe(self) -> list[pb.Worker]:
        """Return the workers as the contract has them, also those that went lately, by name."""
        found = [(one, one.describe()) for one in (*self.workers.values(), *self.gone.values())]
        for worker, described in found:
            held = self.backoff.reason(worker) or self.breaker.reason(worker.name)
            if held is not None and worker.lifecycle == pb.LIFECYCLE_RUNNING:
                described.reason.CopyFrom(held)
        return sorted((described for _, described in found), key=lambda one: one.name)

    def answered(self, worker: Worker) -> None:
        """Note that a worker's provider has answered: a limit of its is over."""
        if self.backoff.pass_probe(worker):
            self.changed.wake()

    def holder(self, token: int) -> Worker | None:
        """Return the worker that has an attempt."""
        return next((one for one in self.workers.values() if token in one.attempts), None)


def _vitality(worker: Worker, now_ns: int) -> common_pb2.Reason:
    silence = f"{(now_ns - worker.heard_ns) / SECOND:.1f} s"
    code, message = {
        pb.VITALITY_ALIVE: ("RECOVERED", "it is heard of again"),
        pb.VITALITY_SUSPECTED: ("SUSPECTED", f"nothing was heard of it for {silence}"),
        pb.VITALITY_AWAY: ("AWAY", "its stream is broken; it has the grace period to come back"),
    }[worker.vitality]
    return common_pb2.Reason(code=code, message=message)


def _parting(worker: str) -> CoordError:
    return unavailable("PARTING", f"{worker} was given up; connect again", retry_after_ns=0)


def _connected(worker: str) -> CoordError:
    return already_exists(
        "WORKER_CONNECTED", f"worker {worker!r} is connected already; choose another name"
    )
