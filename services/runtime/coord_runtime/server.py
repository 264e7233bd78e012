"""The way in over gRPC: serves a pipeline on an address, with health and reflection."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from coord.client import MESSAGE_BYTES_MAX
from coord.errors import STATUS_KEY, CoordError, invalid_argument
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from coord_runtime.addresses import check_listen
from coord_runtime.pipeline import Method, Pipeline

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 16 * 2**10),
    ("grpc.so_reuseport", 0),
    # Workers ping every 5 s, also while they say nothing.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


@dataclass(frozen=True)
class Tls:
    """Files of a server's certificate chain and private key, in PEM."""

    certificate: Path
    key: Path


class Server:
    """A gRPC server of a pipeline's services."""

    def __init__(self, pipeline: Pipeline, address: str, tls: Tls | None = None) -> None:
        check_listen(address, tls=tls is not None)
        self._pipeline = pipeline
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = HealthServicer()
        self._names = sorted({path.split("/")[1] for path in pipeline.methods})
        for name in self._names:
            handler = grpc.method_handlers_generic_handler(name, self._handlers(name))
            self._server.add_generic_rpc_handlers((handler,))
        self._add_health_and_reflection()
        port = self._listen(address, tls)
        self.address = address if address.startswith("unix") else _with_port(address, port)

    async def start(self) -> None:
        """Serve; health says SERVING."""
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def not_serving(self) -> None:
        """Say NOT_SERVING to those who ask for health, and go on serving."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, and end those under way after `grace_s` at the latest."""
        await self.not_serving()
        self._pipeline.draining = True
        await self._server.stop(grace_s)

    def _listen(self, address: str, tls: Tls | None) -> int:
        try:
            if tls is None:
                return self._server.add_insecure_port(address)
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            credentials = grpc.ssl_server_credentials([pair])
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise CoordError(
                grpc.StatusCode.UNAVAILABLE,
                "ADDRESS_IN_USE",
                f"cannot listen on {address}: {error}",
            ) from error

    async def _say(self, status: Any) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)

    def _handlers(self, service: str) -> dict[str, Any]:
        return {
            method.name: self._handler(method)
            for method in self._pipeline.methods.values()
            if method.path.split("/")[1] == service
        }

    def _handler(self, method: Method) -> Any:
        make: Callable[..., Any] = {
            "unary": grpc.unary_unary_rpc_method_handler,
            "server_stream": grpc.unary_stream_rpc_method_handler,
            "bidi_stream": grpc.stream_stream_rpc_method_handler,
        }[method.kind]
        behaviour = {
            "unary": self._unary,
            "server_stream": self._server_stream,
            "bidi_stream": self._bidi_stream,
        }[method.kind](method)
        return make(
            behaviour,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    def _unary(self, method: Method) -> Callable[[Any, Any], Any]:
        pipeline = self._pipeline

        async def serve(request: Any, context: Any) -> Any:
            try:
                return await pipeline.unary(method, request, _authorization(context))
            except CoordError as error:
                await _abort(context, error)

        return serve

    def _server_stream(self, method: Method) -> Callable[[Any, Any], Any]:
        pipeline = self._pipeline

        async def serve(request: Any, context: Any) -> None:
            try:
                answers = pipeline.server_stream(method, request, _authorization(context))
                async for answer in answers:
                    await context.write(answer)
            except CoordError as error:
                await _abort(context, error)

        return serve

    def _bidi_stream(self, method: Method) -> Callable[[Any, Any], Any]:
        pipeline = self._pipeline

        async def serve(_: Any, context: Any) -> None:
            try:
                await pipeline.bidi_stream(method, _GrpcStream(context), _authorization(context))
            except CoordError as error:
                await _abort(context, error)

        return serve

    def _add_health_and_reflection(self) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = (*self._names, health, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)


class _GrpcStream:
    """A server's end of a stream, with None for the end of what comes in."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.write = context.write

    async def read(self) -> Any:
        try:
            message = await self._context.read()
        except DecodeError:
            raise invalid_argument("MALFORMED", "a message is not valid protobuf") from None
        return None if message is grpc.aio.EOF else message


def _authorization(context: Any) -> str:
    for key, value in context.invocation_metadata():
        if key == "authorization":
            return str(value)
    return ""


async def _abort(context: Any, error: CoordError) -> None:
    details = ((STATUS_KEY, error.to_status().SerializeToString()),)
    await context.abort(error.code, error.message[:1_024], details)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
