"""A coordinator that only speaks `Connect`, and that can repeat, forget and be cut off."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from coord.errors import STATUS_KEY, CoordError
from coord.times import duration, from_seconds
from coord.v1 import coordinator_pb2

Request = coordinator_pb2.ConnectRequest
Response = coordinator_pb2.ConnectResponse

_numbers = itertools.count(1)


@dataclass
class Session:
    handled: int = 0
    sent: int = 0
    unacknowledged: list[Response] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    session_id: str = field(default_factory=lambda: f"session-{next(_numbers)}")

    def acknowledge(self, number: int) -> None:
        kept = [response for response in self.unacknowledged if response.sequence > number]
        self.unacknowledged = kept


class FakeCoordinator:
    """Keeps what took effect in `effects`: each numbered message once, in order."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.effects: list[Request] = []
        self.hellos: list[coordinator_pb2.Hello] = []
        self.heartbeats: list[coordinator_pb2.Heartbeat] = []
        self.tokens: list[str] = []
        self.refusals: list[CoordError] = []
        self.repeat = 1
        self.acknowledges = True
        self.hangs_up = False
        self.heartbeat_s = 0.05
        self.grace_s = 0.0
        self.address = ""
        self._changed = asyncio.Event()
        self._wires: list[asyncio.StreamWriter] = []

    async def connect(self, _: Any, context: Any) -> None:
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        if self.refusals:
            await _abort(context, self.refusals.pop(0))
        first = await context.read()
        assert first.WhichOneof("message") == "hello"
        assert not first.sequence
        session = self.sessions.get(first.hello.instance)
        resumed = session is not None and first.hello.session_id in ("", session.session_id)
        if session is None or not resumed:
            session = self.sessions[first.hello.instance] = Session()
        else:
            session.acknowledge(first.acknowledged)
        welcome = coordinator_pb2.Welcome(
            resumed=resumed,
            heartbeat_interval=duration(from_seconds(self.heartbeat_s)),
            grace=duration(from_seconds(self.grace_s)),
            session_id=session.session_id,
            protocol_version=2,
        )
        await context.write(Response(acknowledged=self._acknowledged(session), welcome=welcome))
        self.hellos.append(first.hello)
        self._notify()
        if not self.hangs_up:
            await self._converse(session, context)

    async def _converse(self, session: Session, context: Any) -> None:
        writer = asyncio.create_task(self._write(session, context))
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                await self._handle(session, request, context)
        finally:
            writer.cancel()

    async def _handle(self, session: Session, request: Request, context: Any) -> None:
        session.acknowledge(request.acknowledged)
        if request.WhichOneof("message") == "heartbeat":
            self.heartbeats.append(request.heartbeat)
        elif request.sequence > session.handled:
            if request.sequence != session.handled + 1:
                message = f"{request.sequence} after {session.handled}"
                error = CoordError(grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL", message)
                await _abort(context, error)
            session.handled += 1
            self.effects.append(request)
            session.news.set()
        self._notify()

    def _acknowledged(self, session: Session) -> int:
        return session.handled if self.acknowledges else 0

    async def _write(self, session: Session, context: Any) -> None:
        written: set[int] = set()
        while True:
            session.news.clear()
            for response in list(session.unacknowledged):
                if response.sequence not in written:
                    written.add(response.sequence)
                    response.acknowledged = self._acknowledged(session)
                    for _ in range(self.repeat):
                        await context.write(response)
            ack = Response(acknowledged=self._acknowledged(session), ack=coordinator_pb2.Ack())
            await context.write(ack)
            await session.news.wait()

    def send(self, **message: Any) -> None:
        """Say something to every worker."""
        for session in self.sessions.values():
            session.sent += 1
            session.unacknowledged.append(Response(sequence=session.sent, **message))
            session.news.set()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._wires:
            writer.transport.abort()
        self._wires.clear()

    def said(self, kind: str) -> list[Any]:
        """Return what the workers said of one kind."""
        return [
            getattr(request, kind)
            for request in self.effects
            if request.WhichOneof("message") == kind
        ]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something that the workers say makes the condition true."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_said(self, kind: str, count: int = 1) -> list[Any]:
        """Wait until the workers have said so many of one kind; return them."""
        await self.until(lambda: len(self.said(kind)) >= count)
        return self.said(kind)

    async def until_hellos(self, count: int = 1) -> None:
        """Wait until so many streams were opened."""
        await self.until(lambda: len(self.hellos) >= count)

    async def relay(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection to the server on `port`, until it is cut."""
        there, back = await asyncio.open_connection("127.0.0.1", port)
        self._wires += [writer, back]
        await asyncio.gather(_carry(reader, back), _carry(there, writer))

    def _notify(self) -> None:
        self._changed.set()


async def _abort(context: Any, error: CoordError) -> None:
    status = error.to_status().SerializeToString()
    await context.abort(error.code, error.message, ((STATUS_KEY, status),))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def fake_coordinator() -> AsyncIterator[FakeCoordinator]:
    """Serve a fake on a free port, behind a wire that can be cut."""
    fake, server = FakeCoordinator(), grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        fake.connect, Request.FromString, Response.SerializeToString
    )
    service = "coord.v1.CoordinatorService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Connect": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    wire = await asyncio.start_server(functools.partial(fake.relay, port), "127.0.0.1", 0)
    host, wire_port = wire.sockets[0].getsockname()
    fake.address = f"{host}:{wire_port}"
    try:
        yield fake
    finally:
        wire.close()
        fake.cut()
        await server.stop(0)
