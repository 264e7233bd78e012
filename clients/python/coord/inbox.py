"""Messages of other workers that nobody has read yet."""

import asyncio
from collections import OrderedDict

import structlog

from coord.v1 import coordinator_pb2

_WAITING_MAX = 10_000
_KNOWN_MAX = 10_000

_log = structlog.get_logger()


class Inbox:
    """Hands out each message once, though it may come again in a new session.

    A message counts as delivered when it is put here. Of more than 10,000 that nobody reads, the
    newest are dropped.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[coordinator_pb2.WorkerMessage] = asyncio.Queue(_WAITING_MAX)
        self._known: OrderedDict[str, None] = OrderedDict()

    def put(self, message: coordinator_pb2.WorkerMessage) -> None:
        """Keep a message until it is read."""
        if message.message_id in self._known:
            return
        if self._waiting.full():
            _log.error("message dropped: nobody reads them", sender=message.sender)
            return
        self._known[message.message_id] = None
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        self._waiting.put_nowait(message)

    async def receive(self) -> coordinator_pb2.WorkerMessage:
        """Wait for the next message."""
        return await self._waiting.get()
