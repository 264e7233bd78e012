"""The way in from the same process: a channel that calls a pipeline, as gRPC would.

Generated stubs work on it unchanged. Messages are copied, tokens checked and errors raised as
`grpc.aio.AioRpcError`, so that a service cannot tell whether its caller sits beside it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from coord.errors import STATUS_KEY, CoordError

from coord_runtime.pipeline import Method, Pipeline

_BUFFER = 256
_END = object()


class LocalChannel(grpc.aio.Channel):
    """A channel to the services of a pipeline in this process."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Return a callable for one message each way."""
        target = self._target(method)

        def start(request: Any, *, timeout: float | None = None, metadata: Any = ()) -> Any:
            return self._unary(target(), _copy(request), timeout, _authorization(metadata))

        return start

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Return a callable for one message there and many back."""
        target = self._target(method)

        def start(request: Any, *, timeout: float | None = None, metadata: Any = ()) -> Any:
            del timeout
            copied, authorization = _copy(request), _authorization(metadata)

            async def serve(stream: _Pipe) -> None:
                answers = self._pipeline.server_stream(target(), copied, authorization)
                async for answer in answers:
                    await stream.write(answer)

            return _StreamCall(serve)

        return start

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        """Return a callable; the contract has no RPC of this shape."""
        return None

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Return a callable for many messages each way."""
        target = self._target(method)

        def start(requests: Any = None, *, timeout: float | None = None, metadata: Any = ()) -> Any:
            del requests, timeout
            authorization = _authorization(metadata)
            return _StreamCall(
                lambda stream: self._pipeline.bidi_stream(target(), stream, authorization)
            )

        return start

    def _target(self, path: str) -> Callable[[], Method]:
        def target() -> Method:
            try:
                return self._pipeline.methods[path]
            except KeyError:
                raise CoordError(
                    grpc.StatusCode.UNIMPLEMENTED, "NO_METHOD", f"{path} is not served here"
                ) from None

        return target

    async def _unary(
        self, method: Method, request: Any, limit_s: float | None, authorization: str
    ) -> Any:
        try:
            async with asyncio.timeout(limit_s):
                return _copy(await self._pipeline.unary(method, request, authorization))
        except CoordError as error:
            raise rpc_error(error) from None
        except TimeoutError:
            raise rpc_error(_deadline(method)) from None

    async def close(self, grace: float | None = None) -> None:
        """Do nothing: the pipeline is its owner's."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return READY."""
        del try_to_connect
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for ever if the state is READY."""
        if last_observed_state is grpc.ChannelConnectivity.READY:
            await asyncio.Event().wait()

    async def channel_ready(self) -> None:
        """Return at once."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        return None


class _Pipe:
    """The service's end of a stream."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue(_BUFFER)
        self.outgoing: asyncio.Queue[Any] = asyncio.Queue(_BUFFER)

    async def read(self) -> Any:
        message = await self.incoming.get()
        return None if message is _END else message

    async def write(self, message: Any) -> None:
        await self.outgoing.put(_copy(message))


class _StreamCall:
    """The caller's end of a stream, with the face of a `grpc.aio` stream call."""

    def __init__(self, serve: Callable[[_Pipe], Any]) -> None:
        self._pipe = _Pipe()
        self._error: BaseException | None = None
        self._ended = False
        self._task = asyncio.ensure_future(self._run(serve))

    async def read(self) -> Any:
        """Return the next message, or EOF at the end."""
        if self._ended:
            return grpc.aio.EOF
        message = await self._pipe.outgoing.get()
        if message is not _END:
            return message
        self._ended = True
        if self._error is not None:
            raise self._error
        return grpc.aio.EOF

    async def write(self, message: Any) -> None:
        """Send a message."""
        if self._task.done():
            raise self._error or asyncio.InvalidStateError("the call has ended")
        await self._pipe.incoming.put(_copy(message))

    async def done_writing(self) -> None:
        """End this side of the stream."""
        if not self._task.done():
            await self._pipe.incoming.put(_END)

    def cancel(self) -> bool:
        """End the call."""
        return self._task.cancel()

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._task.done()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def _run(self, serve: Callable[[_Pipe], Any]) -> None:
        try:
            await serve(self._pipe)
        except CoordError as error:
            self._error = rpc_error(error)
        except asyncio.CancelledError:
            self._error = rpc_error(
                CoordError(grpc.StatusCode.CANCELLED, "CANCELLED", "the call was cancelled")
            )
            # Who has gone reads nothing: to wait until there is room would be for ever.
            while not self._pipe.outgoing.empty():
                self._pipe.outgoing.get_nowait()
        await self._end()

    async def _end(self) -> None:
        with suppress(asyncio.QueueFull):
            self._pipe.outgoing.put_nowait(_END)
            return
        await self._pipe.outgoing.put(_END)


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _authorization(metadata: Sequence[tuple[str, str]] | None) -> str:
    return next((value for key, value in metadata or () if key == "authorization"), "")


def _deadline(method: Method) -> CoordError:
    return CoordError(
        grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", f"{method.name} took too long"
    )


def rpc_error(error: CoordError) -> grpc.aio.AioRpcError:
    """Return an error as a gRPC call raises it."""
    details = grpc.aio.Metadata((STATUS_KEY, error.to_status().SerializeToString()))
    return grpc.aio.AioRpcError(error.code, grpc.aio.Metadata(), details, error.message)
