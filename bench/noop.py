"""The limit: a `grpc.aio` server that parses each request, sends a ready answer, and does no more.

python -m bench.noop
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from coord.v1 import coordinator_pb2, ledger_pb2, limiter_pb2, queue_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bench.answers import ANSWERS, assigned, welcome

_OPTIONS = (("grpc.so_reuseport", 0),)
_FILES = (queue_pb2, limiter_pb2, ledger_pb2)


def _unary(answer: Callable[[Any], Message]) -> Callable[[Any, Any], Awaitable[Message]]:
    async def serve(request: Any, _: Any) -> Message:
        return answer(request)

    return serve


async def _connect(_: Any, context: Any) -> None:
    """Answer Hello with a task for each slot, each Complete with another, the rest with an ack."""
    hello = (await context.read()).hello
    await context.write(welcome())
    sent = 0
    for _slot in range(hello.slots):
        sent += 1
        await context.write(assigned(sent, 0))
    while (request := await context.read()) is not grpc.aio.EOF:
        if request.WhichOneof("message") == "complete":
            sent += 1
            await context.write(assigned(sent, request.sequence))
        elif request.sequence:
            ack = coordinator_pb2.Ack()
            await context.write(
                coordinator_pb2.ConnectResponse(acknowledged=request.sequence, ack=ack)
            )


def _service(service: Any) -> grpc.GenericRpcHandler:
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _unary(ANSWERS[method.name]),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for method in service.methods
        if method.name in ANSWERS
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _coordinator() -> grpc.GenericRpcHandler:
    handler = grpc.stream_stream_rpc_method_handler(
        _connect,
        request_deserializer=coordinator_pb2.ConnectRequest.FromString,
        response_serializer=coordinator_pb2.ConnectResponse.SerializeToString,
    )
    name = coordinator_pb2.DESCRIPTOR.services_by_name["CoordinatorService"].full_name
    return grpc.method_handlers_generic_handler(name, {"Connect": handler})


async def _serve() -> None:
    server = grpc.aio.server(options=_OPTIONS)
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            server.add_generic_rpc_handlers((_service(service),))
    server.add_generic_rpc_handlers((_coordinator(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(json.dumps({"address": f"127.0.0.1:{port}"}), flush=True)
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
