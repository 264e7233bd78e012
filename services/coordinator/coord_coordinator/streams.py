"""A worker's stream: Hello, then messages both ways until it breaks or ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from weakref import WeakValueDictionary

import structlog
from coord.errors import failed_precondition, unavailable
from coord.times import SECOND, duration, duration_ns, from_seconds
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.calls import Call, Stream
from coord_runtime.checks import (
    check_attempt,
    check_id,
    check_ids,
    check_project,
    check_range,
    check_worker,
    invalid_field,
)
from coord_runtime.pipeline import check_own_project, check_own_worker
from coord_runtime.wakeups import Wakeups

from coord_coordinator.adoption import Adoption
from coord_coordinator.asks import Asks
from coord_coordinator.fleet import Fleet
from coord_coordinator.mail import OPERATOR
from coord_coordinator.messages import check_buckets, check_request
from coord_coordinator.reports import Reports
from coord_coordinator.session import protocol_error
from coord_coordinator.settings import CoordinatorSettings
from coord_coordinator.workers import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Worker,
    WorkerAttempt,
)

_SLOTS_MAX = 1_000
_INBOX_MAX = 256
_BACKLOG_MAX = 10_000
_NUDGED = 20
# The steps of an attempt. Soon after each the next one is reported, or a task is assigned.
_STEPS = frozenset({"complete", "failed", "released", "started"})

log = structlog.get_logger(__name__)


class Streams:
    """Serves the workers' streams."""

    def __init__(
        self,
        fleet: Fleet,
        reports: Reports,
        adoption: Adoption,
        asks: Asks,
        *,
        settings: CoordinatorSettings,
        lifecycle: Callable[[], pb.Lifecycle],
    ) -> None:
        self._fleet = fleet
        self._reports = reports
        self._adoption = adoption
        self._asks = asks
        self._settings = settings
        self._lifecycle = lifecycle
        self._inboxes: dict[str, _Inbox] = {}
        self._joining: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        fleet.farewells.append(self._close_inbox)

    async def serve(self, stream: Stream, call: Call) -> None:
        """Serve one stream until its end."""
        worker, welcome, over = await self._meet(await stream.read(), call)
        await stream.write(welcome)
        await self._converse(stream, worker, over, welcome.acknowledged)

    async def poll(self, request: pb.PollRequest, call: Call) -> list[pb.ConnectResponse]:
        """Hear what a worker says that keeps no stream open; return what there is to say to it."""
        if not request.messages:
            raise protocol_error("the first message must be Hello")
        worker, welcome, over = await self._meet(request.messages[0], call)
        session = worker.session
        for message in request.messages[1:]:
            await self._take(worker, message)
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_ns(request.wait) / SECOND):
                while session.handled == welcome.acknowledged and not over.is_set():
                    seen = session.seen()
                    if session.after(0):
                        break
                    await session.wait(seen)
        self._fleet.hear(worker)
        welcome.acknowledged = session.handled
        return [welcome, *session.after(0)]

    async def run(self) -> None:
        """Say something to each worker every third of the grace at least, until cancelled.

        From silence a worker tells that nothing reaches it.
        """
        while True:
            workers = list(self._fleet.workers.values())
            # Spread out, so that many do not hold up what others say.
            parts = len(workers) // _NUDGED + 1
            for part in range(parts):
                for worker in workers[part::parts]:
                    worker.session.nudge()
                await asyncio.sleep(self._settings.grace_s / 6 / parts)

    async def stop(self) -> None:
        """Stop handling what workers have said; they will say it again."""
        for inbox in list(self._inboxes.values()):
            await inbox.stop()

    async def _meet(
        self, first: pb.ConnectRequest | None, call: Call
    ) -> tuple[Worker, pb.ConnectResponse, asyncio.Event]:
        """Take a worker in, or go on with its session.

        Returns:
            The worker, its Welcome, and what is set when another stream takes over.
        """
        hello = _hello(first, call)
        self._check_slots(hello)
        # One after another: two Hellos of one name must not both find it free.
        async with self._joining.setdefault(hello.worker, asyncio.Lock()):
            worker = self._fleet.resume(hello)
            resumed = worker is not None
            if worker is None:
                worker = await self._join(hello)
            else:
                await self._go_on(worker, hello, first.acknowledged if first else 0)
            self._fleet.check_stays(worker)
            over = worker.new_stream()
        self._fleet.changed.wake()
        return worker, self._welcome(worker, resumed=resumed), over

    async def _go_on(self, worker: Worker, hello: pb.Hello, acknowledged: int) -> None:
        self._acknowledge(worker, acknowledged)
        if worker.restored:
            await self._adoption.reclaim(worker, hello)
            self._begin(worker)
        # Who polls says so in each Hello, and sends no heartbeats.
        worker.holds(hello.held, acknowledged)

    def _begin(self, worker: Worker) -> None:
        self._inboxes[worker.name] = _Inbox(worker, self._handle)
        self._asks.greet(worker)

    async def _close_inbox(self, worker: str) -> None:
        """End the inbox of a worker that has gone, and forget it then."""
        if inbox := self._inboxes.get(worker):
            inbox.close(lambda: self._forget_inbox(worker, inbox))

    def _forget_inbox(self, worker: str, inbox: "_Inbox") -> None:
        if self._inboxes.get(worker) is inbox:
            del self._inboxes[worker]

    async def _handle(self, worker: Worker, request: pb.ConnectRequest) -> None:
        handler = self._asks if self._asks.answers(request.WhichOneof("message")) else self._reports
        await handler.handle(worker, request)

    async def _join(self, hello: pb.Hello) -> Worker:
        if self._lifecycle() != pb.LIFECYCLE_RUNNING:
            raise unavailable(
                "DRAINING", "the coordinator takes no workers now", retry_after_ns=SECOND
            )
        rival = self._fleet.rival(hello)
        kept: dict[int, WorkerAttempt] = {}
        if rival is not None:
            kept = await self._adoption.succeed(rival, hello)
        earlier = self._inboxes.pop(hello.worker, None)
        if earlier is not None:
            await earlier.stop()
        worker = self._fleet.join(hello)
        try:
            await self._adoption.adopt(worker, hello, kept)
            await self._fleet.welcome(worker)
        except BaseException:
            self._fleet.forget(worker)
            raise
        self._begin(worker)
        return worker

    def _check_slots(self, hello: pb.Hello) -> None:
        if self._settings.repository and hello.slots > 1:
            raise invalid_field("slots", "with a repository a worker has one worktree: one slot")
        if self._settings.repository and hello.prefetch:
            raise invalid_field("prefetch", "with a repository nothing can wait at a worker: 0")

    async def _converse(
        self, stream: Stream, worker: Worker, over: asyncio.Event, acknowledged: int
    ) -> None:
        parts = [
            asyncio.create_task(self._read(stream, worker)),
            asyncio.create_task(over.wait()),
            asyncio.create_task(self._write(stream, worker, acknowledged)),
        ]
        try:
            await asyncio.wait(parts[:2], return_when=asyncio.FIRST_COMPLETED)
            if over.is_set():
                raise unavailable(
                    "STREAM_OVER",
                    "a newer stream has taken over, or the worker was given up; connect again",
                    retry_after_ns=0,
                )
            parts[0].result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            if not over.is_set():
                worker.connected = False
                self._fleet.changed.wake()
        await self._leave(worker)

    async def _write(self, stream: Stream, worker: Worker, acknowledged: int) -> None:
        """Send what is not acknowledged, then what comes, and acknowledgements by themselves."""
        session, sent = worker.session, 0
        while True:
            seen = session.seen()
            for message in session.after(sent):
                message.acknowledged = acknowledged = session.handled
                await stream.write(message)
                sent, session.silence = message.sequence, 0
            if session.silence > 1 or acknowledged < session.due:
                acknowledged, session.silence = session.handled, 0
                await stream.write(pb.ConnectResponse(acknowledged=acknowledged, ack=pb.Ack()))
            await session.wait(seen)

    async def _read(self, stream: Stream, worker: Worker) -> None:
        while (request := await stream.read()) is not None:
            self._fleet.hear(worker)
            await self._take(worker, request)

    def _acknowledge(self, worker: Worker, number: int) -> None:
        self._asks.delivered(worker, worker.session.acknowledge(number))

    async def _take(self, worker: Worker, request: pb.ConnectRequest) -> None:
        session = worker.session
        check_request(request)
        if session.backlog > _BACKLOG_MAX:
            raise protocol_error(f"more than {_BACKLOG_MAX} messages are not acknowledged")
        self._acknowledge(worker, request.acknowledged)
        kind = request.WhichOneof("message")
        if kind == "heartbeat" and worker.holds(request.heartbeat.held, request.acknowledged):
            self._fleet.changed.wake()
        if kind in ("ack", "heartbeat"):
            return
        if kind is None or kind == "hello":
            raise protocol_error("a message must say one thing, and Hello only once a stream")
        self._fleet.check_stays(worker)
        inbox = self._inboxes[worker.name]
        # Before it counts as received: who is cut off while it waits says it again.
        await inbox.room()
        if session.receive(request):
            self._reports.hear(worker, request)
            inbox.put(request)

    async def _leave(self, worker: Worker) -> None:
        """Let a worker go that has ended its stream, once all that it said has had its effect.

        A broken connection can look like an ended one: who still has attempts, or waits for an
        answer, may come back.
        """
        if inbox := self._inboxes.get(worker.name):
            await inbox.flush()
        settled = worker.lifecycle == pb.LIFECYCLE_STOPPED or worker.connected
        if not settled and not worker.attempts and not worker.session.asks:
            await self._fleet.part(worker, "LEFT", "the worker has left")

    def _welcome(self, worker: Worker, *, resumed: bool) -> pb.ConnectResponse:
        welcome = pb.Welcome(
            resumed=resumed,
            heartbeat_interval=duration(from_seconds(self._settings.heartbeat_s)),
            grace=duration(from_seconds(self._settings.grace_s)),
            session_id=worker.session.session_id,
            protocol_version=worker.version,
        )
        return pb.ConnectResponse(acknowledged=worker.session.handled, welcome=welcome)


class _Inbox:
    """Handles a session's messages one after another; it outlives the streams."""

    def __init__(
        self, worker: Worker, handle: Callable[[Worker, pb.ConnectRequest], Awaitable[None]]
    ) -> None:
        self._worker = worker
        self._handle = handle
        self._queue: asyncio.Queue[pb.ConnectRequest] = asyncio.Queue(_INBOX_MAX)
        self._taken = Wakeups()
        self._closed = False
        self._task = asyncio.create_task(self._run())

    async def room(self) -> None:
        """Wait until there is room for a message."""
        while self._queue.full():
            seen = self._taken.seen()
            await self._taken.wait(seen)

    def put(self, request: pb.ConnectRequest) -> None:
        """Take a message in; there is room."""
        self._queue.put_nowait(request)

    async def flush(self) -> None:
        """Wait until what was put is handled."""
        await self._queue.join()

    def close(self, ended: Callable[[], object]) -> None:
        """End after the message at hand, since the session is over; call `ended` then."""
        self._task.add_done_callback(lambda _: ended())
        self._closed = True
        if self._queue.empty():
            self._queue.put_nowait(pb.ConnectRequest())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while not (self._closed and self._queue.empty()):
            requests = [await self._queue.get()]
            while _asks_for_claim(requests[-1]) and not self._queue.empty():
                requests.append(self._queue.get_nowait())
            self._taken.wake()
            for _, together in groupby(requests, _asks_for_claim):
                if not self._is_over:
                    await self._handle_all(list(together))
            for _ in requests:
                self._queue.task_done()

    @property
    def _is_over(self) -> bool:
        return self._worker.session.failed or self._worker.lifecycle == pb.LIFECYCLE_STOPPED

    async def _handle_all(self, requests: Sequence[pb.ConnectRequest]) -> None:
        """Handle one message, or claims that were asked for together: they share a commit."""
        try:
            await asyncio.gather(*(self._handle(self._worker, one) for one in requests))
            last = requests[-1]
            has_time = last.WhichOneof("message") in _STEPS
            self._worker.session.note_handled(last.sequence, has_time=has_time)
        except Exception:
            # Neither it nor what came after it is acknowledged: said again in a new session.
            log.exception("report failed", worker=self._worker.name)
            self._worker.session.failed = True
            self._worker.stream_over.set()


def _asks_for_claim(request: pb.ConnectRequest) -> bool:
    return request.HasField("request")


def _hello(first: pb.ConnectRequest | None, call: Call) -> pb.Hello:
    if first is None or first.WhichOneof("message") != "hello":
        raise protocol_error("the first message must be Hello")
    hello = first.hello
    _check_version(hello)
    check_project(hello.project)
    check_worker("worker", hello.worker)
    if hello.worker == OPERATOR:
        raise invalid_field("worker", f"{OPERATOR!r} is not a worker")
    check_own_project(call.principal, hello.project)
    check_own_worker(call.principal, hello.worker)
    check_id("instance", hello.instance)
    if hello.session_id:
        check_id("session_id", hello.session_id)
    check_range("confirmed", hello.confirmed, 0, 2**63 - 1)
    check_ids("capabilities", hello.capabilities)
    check_buckets("buckets", hello.buckets)
    if hello.provider:
        check_id("provider", hello.provider)
    check_range("slots", hello.slots, 1, _SLOTS_MAX)
    check_range("prefetch", hello.prefetch, 0, _SLOTS_MAX)
    check_ids("roles", hello.roles)
    check_ids("runs", hello.runs)
    for category, weight in hello.preferences.items():
        check_range(f"preferences.{category}", weight, 0, 1)
    for attempt in hello.held:
        check_attempt("held", attempt)
    return hello


def _check_version(hello: pb.Hello) -> None:
    newest, oldest = hello.protocol_version, hello.protocol_version_min or hello.protocol_version
    if newest < PROTOCOL_VERSION_MIN or oldest > PROTOCOL_VERSION:
        supported = f"{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}"
        raise failed_precondition(
            "UNSUPPORTED_VERSION",
            f"this coordinator speaks protocol versions {supported}, the worker {oldest} to"
            f" {newest}; use the version of Coord that goes with it",
            supported=supported,
        )
