"""A worker's end of a stream, thin: both sides are to be measured, not the worker."""

import asyncio
from typing import Any, cast

import grpc.aio
from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2, coordinator_pb2


class Worker:
    """A worker that says what it is told to.

    Attributes:
        heartbeat_s: How often it is to say that it is alive, once it has joined.
        acknowledged: The highest number of its own that was acknowledged.
        messages: How many messages of other workers it has heard.
    """

    def __init__(self, stub: Any, project: str, name: str, slots: int) -> None:
        self.name = name
        self.acknowledged = 0
        self.messages = 0
        self.heartbeat_s = 0.0
        self._stub = stub
        self._stream: Any = None
        self._hello = coordinator_pb2.Hello(
            protocol_version=2, project=project, worker=name, instance=name, slots=slots
        )
        self._writing = asyncio.Lock()
        self._sent = 0
        self._received = 0

    async def join(self) -> None:
        """Open the stream, say Hello, and wait for the Welcome."""
        self._stream = self._stub.Connect()
        await self._stream.write(coordinator_pb2.ConnectRequest(hello=self._hello))
        response = await self._stream.read()
        assert response.HasField("welcome")
        self.heartbeat_s = duration_ns(response.welcome.heartbeat_interval) / SECOND

    async def read(self) -> coordinator_pb2.ConnectResponse | None:
        """Return the next message; None at the end of the stream."""
        response: Any = await self._stream.read()
        if response is grpc.aio.EOF:
            return None
        self._received = max(self._received, response.sequence)
        self.acknowledged = max(self.acknowledged, response.acknowledged)
        self.messages += response.HasField("worker_message")
        return cast("coordinator_pb2.ConnectResponse", response)

    async def assigned(self) -> common_pb2.AttemptRef:
        """Wait for a task."""
        while (response := await self.read()) is not None:
            if response.HasField("assigned"):
                return attempt_of(response)
        raise AssertionError("the stream has ended")

    async def say(self, **message: Any) -> None:
        """Send a numbered message."""
        async with self._writing:
            self._sent += 1
            await self._stream.write(
                coordinator_pb2.ConnectRequest(
                    sequence=self._sent, acknowledged=self._received, **message
                )
            )

    async def beat(self) -> None:
        """Send a heartbeat."""
        heartbeat = coordinator_pb2.Heartbeat()
        async with self._writing:
            await self._stream.write(
                coordinator_pb2.ConnectRequest(acknowledged=self._received, heartbeat=heartbeat)
            )

    async def settled(self) -> None:
        """Wait until all that was said is acknowledged."""
        while self.acknowledged < self._sent:
            assert await self.read() is not None

    async def leave(self) -> None:
        """End this side of the stream; what still comes is left to the readers."""
        await self._stream.done_writing()


def attempt_of(response: coordinator_pb2.ConnectResponse) -> common_pb2.AttemptRef:
    lease = response.assigned.lease
    token = lease.attempt.fencing_token
    return common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)
