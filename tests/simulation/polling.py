"""A worker's channel to a coordinator to which no stream can be kept open: its session polls."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import grpc.aio
from coord.times import duration, from_seconds
from coord.v1 import common_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_runtime.local import LocalChannel

from tests.simulation.network import unavailable

_WAIT_S_MAX, _PAUSE_S_MAX = 3.0, 0.5


class PollingChannel(LocalChannel):
    """Turns what is said and heard on `Connect` into calls of `Poll`.

    Args:
        channel: To the coordinator.
        chance: How long each call waits, and when the next follows.
        held: Tells the attempts whose end is not acknowledged: each Hello names them.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        chance: Random,
        held: Callable[[], list[common_pb2.AttemptRef]],
    ) -> None:
        self._channel = channel
        self._chance = chance
        self._held = held

    def unary_unary(self, *arguments: Any, **more: Any) -> Any:
        return self._channel.unary_unary(*arguments, **more)

    def unary_stream(self, *arguments: Any, **more: Any) -> Any:
        return self._channel.unary_stream(*arguments, **more)

    def stream_stream(self, *_: Any, **__: Any) -> Any:
        return lambda: _Polls(CoordinatorServiceStub(self._channel), self._chance, self._held)


class _Polls:
    """The worker's end of a stream that is none; it ends with the first call that fails."""

    def __init__(
        self, stub: Any, chance: Random, held: Callable[[], list[common_pb2.AttemptRef]]
    ) -> None:
        self._stub = stub
        self._chance = chance
        self._held = held
        self._first = pb.ConnectRequest()
        self._said: list[pb.ConnectRequest] = []
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._polling: asyncio.Task[None] | None = None

    async def write(self, message: pb.ConnectRequest) -> None:
        if message.HasField("hello"):
            self._first.CopyFrom(message)
            self._polling = asyncio.create_task(self._poll_on())
            return
        self._first.acknowledged = message.acknowledged
        if message.sequence:
            self._said.append(message)

    async def read(self) -> Any:
        heard = await self._heard.get()
        if isinstance(heard, grpc.aio.AioRpcError):
            raise heard
        return heard

    async def done_writing(self) -> None:
        self.cancel()
        self._heard.put_nowait(grpc.aio.EOF)

    def cancel(self) -> bool:
        return self._polling is not None and self._polling.cancel()

    async def _poll_on(self) -> None:
        welcome = pb.Welcome()
        try:
            while True:
                answer = await self._poll()
                last, welcome = welcome, answer.messages[0].welcome
                if last.session_id not in {"", welcome.session_id}:
                    raise unavailable("the session has ended")
                self._take(answer)
                await asyncio.sleep(self._chance.uniform(0, _PAUSE_S_MAX))
        except grpc.aio.AioRpcError as error:
            self._heard.put_nowait(error)

    async def _poll(self) -> pb.PollResponse:
        hello, wait_s = self._first.hello, self._chance.uniform(0, _WAIT_S_MAX)
        del hello.held[:]
        hello.held.extend(self._held())
        request = pb.PollRequest(
            project=hello.project,
            messages=[self._first, *self._said],
            wait=duration(from_seconds(wait_s)),
        )
        answer: pb.PollResponse = await self._stub.Poll(request, timeout=2 * _WAIT_S_MAX)
        return answer

    def _take(self, answer: pb.PollResponse) -> None:
        first, hello = answer.messages[0], self._first.hello
        if not first.welcome.resumed:
            self._first.acknowledged = 0
        hello.session_id, hello.confirmed = first.welcome.session_id, first.acknowledged
        self._said = [one for one in self._said if one.sequence > first.acknowledged]
        for message in answer.messages:
            self._heard.put_nowait(message)
