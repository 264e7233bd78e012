"""The worker's end of `Connect`: numbers, acknowledgements, heartbeats and reconnects.

The rules are those of the head of coordinator.proto. Nothing is persisted: what the coordinator has
not acknowledged is kept in memory and said again after a broken stream.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog

from coord.environment import SYSTEM, Environment
from coord.errors import CoordError, failed_precondition, from_rpc
from coord.outbox import Outbox
from coord.times import SECOND, duration_ns
from coord.v1 import (
    admission_pb2,
    claims_pb2,
    common_pb2,
    coordinator_pb2,
    coordinator_pb2_grpc,
)

PROTOCOL_VERSION, PROTOCOL_VERSION_MIN = 3, 2

Report = (
    coordinator_pb2.Started
    | coordinator_pb2.Complete
    | coordinator_pb2.Failed
    | coordinator_pb2.Released
    | coordinator_pb2.ProgressReport
    | coordinator_pb2.Spent
    | claims_pb2.ClaimRequest
    | coordinator_pb2.ClaimRelease
    | coordinator_pb2.RateRequest
    | coordinator_pb2.RateSettlement
    | coordinator_pb2.ConflictCheck
    | coordinator_pb2.WorkerMessage
    | admission_pb2.CallRequest
    | admission_pb2.CallSettlement
)

_FIELDS: dict[type[Any], str] = {
    coordinator_pb2.Started: "started",
    coordinator_pb2.Complete: "complete",
    coordinator_pb2.Failed: "failed",
    coordinator_pb2.Released: "released",
    coordinator_pb2.ProgressReport: "progress",
    coordinator_pb2.Spent: "spent",
    claims_pb2.ClaimRequest: "request",
    coordinator_pb2.ClaimRelease: "claim_release",
    coordinator_pb2.RateRequest: "rate_request",
    coordinator_pb2.RateSettlement: "rate_settlement",
    coordinator_pb2.ConflictCheck: "conflict_check",
    coordinator_pb2.WorkerMessage: "worker_message",
    admission_pb2.CallRequest: "call_request",
    admission_pb2.CallSettlement: "call_settlement",
}
# Since which version of the protocol.
_SINCE: dict[type[Any], int] = {admission_pb2.CallRequest: 3, admission_pb2.CallSettlement: 3}
_FATAL = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

# How long the coordinator has to end a stream that the worker has closed.
_GOODBYE_S = 5.0
# How many messages of other workers are known again.
_LETTERS_MAX = 10_000

_log = structlog.get_logger()


@dataclass(frozen=True)
class SessionSettings:
    """How patient a session is, in seconds.

    Attributes:
        backoff_initial_s: Wait before the first reconnect; doubled for each further one.
        backoff_max_s: Longest wait.
        welcome_timeout_s: How long the coordinator has to answer Hello.
        name_wait_s: How long to try again while another live instance has the worker's name.
    """

    backoff_initial_s: float = 0.1
    backoff_max_s: float = 1.0
    welcome_timeout_s: float = 20.0
    name_wait_s: float = 120.0


class WorkerSession:
    """Keeps one worker connected to its coordinator.

    Args:
        channel: Where the coordinator is, with the worker's token.
        hello: Who the worker is; `instance` must be new for each start of the process. Its `held`
            is filled from the argument of that name.
        on_message: Told each numbered message of the coordinator's once, and each WorkerMessage
            once by its id. It must not block; the message counts as handled when it returns. Where
            a session has ended against the worker's will, it is told ClaimLost, without a number,
            for each claim that was asked for in it.
        held: Tells the attempts whose end is not acknowledged.
        environment: Chance for the backoff.
        settings: How patient the session is.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        hello: coordinator_pb2.Hello,
        on_message: Callable[[coordinator_pb2.ConnectResponse], None],
        held: Callable[[], list[common_pb2.AttemptRef]],
        *,
        environment: Environment = SYSTEM,
        settings: SessionSettings | None = None,
    ) -> None:
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._hello = hello
        self._on_message = on_message
        self._held = held
        self._environment = environment
        self._settings = settings or SessionSettings()
        self._outbox, self._handled = Outbox(), 0
        self._session_id, self._version = "", PROTOCOL_VERSION
        self._news = asyncio.Event()
        self._leaving = False
        self._claims: dict[str, None] = {}
        self._letters: dict[str, None] = {}
        self._heartbeat_s = 5.0
        self._beat_at = math.inf
        self._silence_s: float | None = None
        self._failures = 0
        self._welcomed_s = math.inf
        self._name_taken_since: float | None = None

    def send(self, report: Report) -> asyncio.Future[None]:
        """Say something to the coordinator.

        Returns:
            Done when the coordinator has acknowledged it, however many streams that takes.

        Raises:
            CoordError: FAILED_PRECONDITION with reason UNSUPPORTED_VERSION: the coordinator is
                older than what is said.
        """
        if _SINCE.get(type(report), 0) > self._version:
            raise failed_precondition(
                "UNSUPPORTED_VERSION",
                f"the coordinator speaks version {self._version} of the protocol, which has no"
                f" {_FIELDS[type(report)]}; use the version of Coord that goes with it",
            )
        request = coordinator_pb2.ConnectRequest()
        getattr(request, _FIELDS[type(report)]).CopyFrom(report)
        if isinstance(report, claims_pb2.ClaimRequest):
            self._claims[report.claim_id] = None
        elif isinstance(report, coordinator_pb2.ClaimRelease):
            self._claims.pop(report.claim_id, None)
        done = self._outbox.add(request)
        self._news.set()
        return done

    def beat(self) -> None:
        """Send a heartbeat now: which attempts are held has changed, and no report says so."""
        self._beat_at = -math.inf
        self._news.set()

    def leave(self) -> None:
        """End the session once everything that was said is acknowledged."""
        self._leaving = True
        self._news.set()

    async def run(self) -> None:
        """Stay connected until `leave` is done.

        Raises:
            CoordError: The coordinator refuses the worker, and trying again cannot help.
        """
        while not self._finished:
            try:
                await self._converse()
            except grpc.aio.AioRpcError as error:
                self._judge(from_rpc(error))
            except (TimeoutError, CoordError) as error:
                _log.warning("stream broken", worker=self._hello.worker, error=str(error))
            if not self._finished:
                await self._back_off()

    @property
    def _finished(self) -> bool:
        return self._leaving and not len(self._outbox)

    def _judge(self, error: CoordError) -> None:
        if error.reason == "WORKER_CONNECTED":
            now = asyncio.get_running_loop().time()
            self._name_taken_since = self._name_taken_since or now
            if now - self._name_taken_since > self._settings.name_wait_s:
                raise error
        elif error.code in _FATAL:
            raise error
        _log.info("not connected", worker=self._hello.worker, error=str(error))

    async def _back_off(self) -> None:
        # A stream that broke soon after its Welcome may have been broken by what was said on it.
        if asyncio.get_running_loop().time() - self._welcomed_s > self._settings.backoff_max_s:
            self._failures = 0
        self._welcomed_s = math.inf
        nominal = self._settings.backoff_initial_s * 2 ** min(self._failures, 16)
        self._failures += 1
        delay = min(nominal, self._settings.backoff_max_s)
        await asyncio.sleep(delay * self._environment.random.uniform(0.5, 1.0))

    async def _converse(self) -> None:
        stream = self._stub.Connect()
        try:
            await self._greet(stream)
            await self._exchange(stream)
        finally:
            stream.cancel()

    async def _greet(self, stream: Any) -> None:
        hello = coordinator_pb2.Hello()
        hello.CopyFrom(self._hello)
        hello.protocol_version = PROTOCOL_VERSION
        hello.protocol_version_min = PROTOCOL_VERSION_MIN
        hello.session_id = self._session_id
        hello.confirmed = self._outbox.acknowledged
        hello.held.extend(self._held())
        # Of no meaning in a new session, and passed over there.
        request = coordinator_pb2.ConnectRequest(acknowledged=self._handled, hello=hello)
        async with asyncio.timeout(self._settings.welcome_timeout_s):
            with contextlib.suppress(asyncio.InvalidStateError):
                await stream.write(request)
            response = await stream.read()
        if response is grpc.aio.EOF or response.WhichOneof("message") != "welcome":
            message = "the coordinator did not answer Hello with Welcome"
            raise CoordError(grpc.StatusCode.INTERNAL, "PROTOCOL", message)
        self._welcome(response)

    def _welcome(self, response: coordinator_pb2.ConnectResponse) -> None:
        welcome = response.welcome
        if not welcome.resumed:
            self._handled = 0
            self._lose_claims()
        self._session_id, self._version = welcome.session_id, welcome.protocol_version
        self._outbox.welcome(resumed=welcome.resumed)
        self._outbox.acknowledge(response.acknowledged)
        self._welcomed_s, self._name_taken_since = asyncio.get_running_loop().time(), None
        if interval_ns := duration_ns(welcome.heartbeat_interval):
            self._heartbeat_s = interval_ns / SECOND
        # The coordinator speaks at least every third of it.
        self._silence_s = duration_ns(welcome.grace) / SECOND * 2 / 3 or None

    def _lose_claims(self) -> None:
        """Tell which claims have ended with the session before; those asked for anew have not."""
        lost = self._claims.keys() - self._outbox.asks_for()
        for claim_id in [one for one in self._claims if one in lost]:
            del self._claims[claim_id]
            claim = claims_pb2.Claim(
                claim_id=claim_id, holder=self._hello.worker, state=claims_pb2.CLAIM_STATE_EXPIRED
            )
            claim_lost = coordinator_pb2.ClaimLost(claim=claim)
            self._on_message(coordinator_pb2.ConnectResponse(claim_lost=claim_lost))

    async def _exchange(self, stream: Any) -> None:
        reader = asyncio.create_task(self._read(stream))
        writer = asyncio.create_task(self._write(stream))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await asyncio.wait({reader}, timeout=_GOODBYE_S)
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.wait({reader, writer})
        # The reader tells how the stream ended; the writer only stumbles over it.
        for task in (reader, writer):
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _read(self, stream: Any) -> None:
        while True:
            # Nothing at all means that nothing gets here, even if what is said here gets there.
            async with asyncio.timeout(self._silence_s):
                response = await stream.read()
            if response is grpc.aio.EOF:
                return
            self._receive(response)

    def _receive(self, response: coordinator_pb2.ConnectResponse) -> None:
        self._outbox.acknowledge(response.acknowledged)
        if response.sequence > self._handled:
            if response.sequence != self._handled + 1:
                message = f"the coordinator's message {response.sequence} came too early"
                raise CoordError(grpc.StatusCode.INTERNAL, "PROTOCOL", message)
            if self._is_news(response):
                self._on_message(response)
            self._handled = response.sequence
        self._news.set()

    def _is_news(self, response: coordinator_pb2.ConnectResponse) -> bool:
        """Keep the books on claims and messages; return False for what nobody waits for."""
        match response.WhichOneof("message"):
            case "proceed" if response.proceed.claim.claim_id not in self._claims:
                # Refused before and asked for again on the way, or given back: it is not kept.
                claim_id = response.proceed.claim.claim_id
                self.send(coordinator_pb2.ClaimRelease(claim_id=claim_id))
                return False
            case "claim_lost":
                self._claims.pop(response.claim_lost.claim.claim_id, None)
            case "refusal":
                self._claims.pop(response.refusal.id, None)
            case "worker_message":
                message_id = response.worker_message.message_id
                if message_id in self._letters:
                    return False
                self._letters[message_id] = None
                if len(self._letters) > _LETTERS_MAX:
                    del self._letters[next(iter(self._letters))]
        return True

    async def _write(self, stream: Any) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            await self._write_until_finished(stream)

    async def _write_until_finished(self, stream: Any) -> None:
        loop, acknowledged = asyncio.get_running_loop(), 0
        self._beat_at = loop.time() + self._heartbeat_s
        while True:
            self._news.clear()
            for request in self._outbox.unwritten():
                request.acknowledged = acknowledged = self._handled
                await stream.write(request)
            if self._finished:
                await stream.done_writing()
                return
            if loop.time() >= self._beat_at:
                self._beat_at, acknowledged = loop.time() + self._heartbeat_s, self._handled
                await stream.write(self._heartbeat())
            elif acknowledged < self._handled:
                acknowledged = self._handled
                await stream.write(_ack(acknowledged))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._beat_at):
                    await self._news.wait()

    def _heartbeat(self) -> coordinator_pb2.ConnectRequest:
        heartbeat = coordinator_pb2.Heartbeat(held=self._held())
        handled = self._handled
        return coordinator_pb2.ConnectRequest(acknowledged=handled, heartbeat=heartbeat)


def _ack(number: int) -> coordinator_pb2.ConnectRequest:
    return coordinator_pb2.ConnectRequest(acknowledged=number, ack=coordinator_pb2.Ack())
