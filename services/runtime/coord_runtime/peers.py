"""Calls to other services: repeated while those are away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from coord.environment import Environment
from coord.errors import AWAY, CoordError, from_rpc

T = TypeVar("T")

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0
_CALL_S = 60.0

log = structlog.get_logger(__name__)


def pauses(environment: Environment) -> Iterator[float]:
    """Yield how many seconds to wait before each try after the first: longer each time, up to 2.

    Args:
        environment: Chance, so that not all who wait try at once.
    """
    wait_s = _FIRST_WAIT_S
    while True:
        yield wait_s * (0.5 + environment.random.random() / 2)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


async def ask(call: Callable[..., Awaitable[T]], request: Any, *, limit_s: float = _CALL_S) -> T:
    """Call another service once.

    Raises:
        CoordError: What it said.
    """
    try:
        return await call(request, timeout=limit_s)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error


async def follow(
    watch: Callable[..., Any], request: Any, environment: Environment
) -> AsyncIterator[Any]:
    """Yield the events of a Watch RPC for ever; after a break go on where it was.

    Ends only where the service is not served at all.

    Args:
        watch: The stub's RPC.
        request: What to ask first; its `after` is moved along.
        environment: Chance.
    """
    waits = pauses(environment)
    while True:
        call = watch(request)
        try:
            async for response in call:
                waits = pauses(environment)
                for event in response.events:
                    yield event
                    request.after = event.meta.sequence
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return
            log.debug("a watch has ended", request=type(request).__name__, error=str(error.code()))
        finally:
            call.cancel()
        await asyncio.sleep(next(waits))


async def insist(
    call: Callable[..., Awaitable[T]],
    request: Any,
    environment: Environment,
    *,
    limit_s: float = _CALL_S,
) -> T:
    """Call another service until it answers; only for calls that may be repeated.

    Raises:
        CoordError: What it said, if that is not that it is away.
    """
    waits = pauses(environment)
    while True:
        try:
            return await ask(call, request, limit_s=limit_s)
        except CoordError as error:
            if error.code not in AWAY:
                raise
            log.warning("a service is away", request=type(request).__name__, error=str(error))
        await asyncio.sleep(next(waits))
