"""What happens around every handler, whichever way its call comes in.

Authentication, then the checks that hold for every request, then the handler; metrics around it
all; and every error as the one error type.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc
import structlog
from coord.environment import Environment
from coord.errors import CoordError, permission_denied, unavailable
from coord.times import SECOND
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from coord_runtime.calls import Call, Stream, once_of
from coord_runtime.checks import check_message, check_project
from coord_runtime.metrics import CallMetrics, MethodMetrics
from coord_runtime.service import Service
from coord_runtime.tokens import Kind, Principal, TokenMint

log = structlog.get_logger(__name__)

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
# What an RPC's name begins with that only reads: a worker that it names narrows the answer.
_READS = ("Get", "List")


@dataclass(frozen=True)
class Method:
    """One RPC: its shape, its handler, and who may call it."""

    service: str
    name: str
    path: str
    kind: str
    request: type[Message]
    response: type[Message]
    handler: Callable[[Any, Call], Any]
    for_workers: bool
    metrics: MethodMetrics
    has_project: bool
    acts_for_worker: bool

    @property
    def request_streams(self) -> bool:
        """Whether the caller sends a stream."""
        return self.kind == "bidi_stream"

    @property
    def response_streams(self) -> bool:
        """Whether the service sends a stream."""
        return self.kind != "unary"


@dataclass
class Pipeline:
    """The way from a call to its handler.

    Attributes:
        mint: Checks the callers' tokens.
        metrics: Counts the calls.
        environment: Time.
        draining: While true, calls are refused with UNAVAILABLE.
    """

    mint: TokenMint
    metrics: CallMetrics
    environment: Environment
    draining: bool = False
    methods: dict[str, Method] = field(default_factory=dict)

    def add(self, service: Service) -> None:
        """Serve the RPCs of a service."""
        for descriptor in service.DESCRIPTOR.methods:
            method = self._method(service, descriptor)
            self.methods[method.path] = method

    async def unary(self, method: Method, request: Any, authorization: str) -> Any:
        """Answer one request."""
        method.metrics.received += 1
        with _Measured(method, self.environment):
            call = self._admit(method, authorization)
            self._check(method, request, call)
            response = await method.handler(request, self._with_once(method, request, call))
        method.metrics.sent += 1
        return response

    async def server_stream(
        self, method: Method, request: Any, authorization: str
    ) -> AsyncIterator[Any]:
        """Answer one request with a stream."""
        method.metrics.received += 1
        with _Measured(method, self.environment):
            call = self._admit(method, authorization)
            self._check(method, request, call)
            async for response in method.handler(request, call):
                method.metrics.sent += 1
                yield response

    async def bidi_stream(self, method: Method, stream: Stream, authorization: str) -> None:
        """Serve a stream in both directions. The handler checks its messages itself."""
        with _Measured(method, self.environment):
            call = self._admit(method, authorization)
            await method.handler(_CheckedStream(stream, method.metrics), call)

    def _method(self, service: Service, descriptor: MethodDescriptor) -> Method:
        kind = _kind(descriptor)
        labels = (kind, descriptor.containing_service.full_name, descriptor.name)
        fields = descriptor.input_type.fields_by_name
        return Method(
            service=service.NAME,
            name=descriptor.name,
            path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
            kind=kind,
            request=GetMessageClass(descriptor.input_type),
            response=GetMessageClass(descriptor.output_type),
            handler=getattr(service, _WORD.sub("_", descriptor.name).lower()),
            for_workers=descriptor.name in service.WORKER_METHODS,
            metrics=self.metrics.method(labels),
            has_project="project" in fields,
            acts_for_worker="worker" in fields and not descriptor.name.startswith(_READS),
        )

    def _admit(self, method: Method, authorization: str) -> Call:
        if self.draining:
            raise unavailable(
                "DRAINING", "the service is shutting down; try again", retry_after_ns=SECOND
            )
        principal = self.mint.verify(authorization)
        if principal.kind is Kind.WORKER and not method.for_workers:
            raise permission_denied(
                "NOT_FOR_WORKERS", f"a worker's token may not call {method.name}"
            )
        return Call(principal, method.name)

    def _check(self, method: Method, request: Any, call: Call) -> None:
        check_message(request)
        if method.has_project:
            check_project(request.project)
            check_own_project(call.principal, request.project)
        if method.acts_for_worker and call.principal.kind is Kind.WORKER:
            check_own_worker(call.principal, request.worker)

    def _with_once(self, method: Method, request: Any, call: Call) -> Call:
        once = once_of(request, call.principal, method.name, method.response)
        return Call(call.principal, method.name, once) if once else call


class _Measured:
    """Counts a call, and makes the one error type of what nobody has foreseen."""

    __slots__ = ("_begin_ns", "_environment", "_method")

    def __init__(self, method: Method, environment: Environment) -> None:
        self._method = method
        self._environment = environment

    def __enter__(self) -> None:
        metrics = self._method.metrics
        metrics.started += 1
        metrics.active += 1
        self._begin_ns = self._environment.monotonic_ns()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        code = _code_of(error)
        seconds = (self._environment.monotonic_ns() - self._begin_ns) / SECOND
        self._method.metrics.end(_CODE_NAMES[code], seconds)
        if isinstance(error, Exception) and not isinstance(error, CoordError):
            name = self._method.name
            log.error("handler failed", method=self._method.path, exc_info=error)
            raise CoordError(
                code, "INTERNAL", f"{name} failed in a way that it should not; see the log"
            ) from error


class _CheckedStream:
    """A stream whose messages are counted and checked."""

    def __init__(self, stream: Stream, metrics: MethodMetrics) -> None:
        self._stream = stream
        self._metrics = metrics

    async def read(self) -> Any:
        message = await self._stream.read()
        if message is not None:
            self._metrics.received += 1
            check_message(message)
        return message

    def write(self, message: Any) -> Awaitable[None]:
        self._metrics.sent += 1
        return self._stream.write(message)


def check_own_project(principal: Principal, project: str) -> None:
    """Refuse a project that is not the caller's.

    Raises:
        CoordError: PERMISSION_DENIED with reason NOT_YOUR_PROJECT.
    """
    if principal.project != project:
        raise permission_denied(
            "NOT_YOUR_PROJECT", f"the token is for project {principal.project!r}, not {project!r}"
        )


def check_own_worker(principal: Principal, worker: str) -> None:
    """Refuse a worker's token that acts for another worker.

    Raises:
        CoordError: PERMISSION_DENIED with reason NOT_YOUR_WORKER.
    """
    if principal.kind is Kind.WORKER and principal.name != worker:
        raise permission_denied(
            "NOT_YOUR_WORKER", f"the token is for worker {principal.name!r}, not {worker!r}"
        )


def _kind(descriptor: MethodDescriptor) -> str:
    if descriptor.client_streaming:
        return "bidi_stream"
    return "server_stream" if descriptor.server_streaming else "unary"


def _code_of(error: BaseException | None) -> grpc.StatusCode:
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, CoordError):
        return error.code
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.INTERNAL


def _code_name(code: grpc.StatusCode) -> str:
    return "".join(word.capitalize() for word in code.name.split("_"))


_CODE_NAMES = {code: _code_name(code) for code in grpc.StatusCode} | {grpc.StatusCode.OK: "OK"}
