"""Messages between workers: stored until each recipient has acknowledged them, or they expire."""

import asyncio
from functools import partial

from coord.errors import CoordError, not_found, resource_exhausted
from coord.times import SECOND, duration_ns, timestamp
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.batches import Batches, insist
from coord_coordinator.fleet import Fleet
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.store import CoordinatorStore, Letter
from coord_coordinator.workers import Worker

OPERATOR = "operator"
_TIME_TO_LIVE_NS = 3600 * SECOND
# People are not always there.
_OPERATORS_NS = 7 * 24 * 3600 * SECOND
_WAITING_MAX = 10_000
_SWEEP_S = 30.0


class Mail:
    """Routes messages, and keeps what is not acknowledged."""

    def __init__(self, fleet: Fleet, store: CoordinatorStore, metrics: CoordinatorMetrics) -> None:
        self._routed = metrics.messages_routed
        self._fleet = fleet
        self._store = store
        self._waiting: dict[str, dict[str, Letter]] = {}
        self._receipts = Batches(self._store_receipts)

    def restore(self) -> None:
        """Read what is not acknowledged yet."""
        for letter in self._store.letters():
            for recipient in letter.recipients:
                self._waiting.setdefault(recipient, {})[letter.message.message_id] = letter

    async def run(self) -> None:
        """Forget what has expired, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            expired = set(await self._store.expire_letters(self._fleet.environment.now_ns()))
            for recipient, waiting in list(self._waiting.items()):
                left = {key: one for key, one in waiting.items() if key not in expired}
                self._waiting[recipient] = left
                if not left:
                    del self._waiting[recipient]

    async def send(self, sender: str, message: pb.WorkerMessage) -> list[str]:
        """Store a message for its recipients, and tell those who are there; return their names.

        Raises:
            CoordError: NOT_FOUND with reason WORKER_NOT_FOUND; RESOURCE_EXHAUSTED with reason
                MAILBOX_FULL.
        """
        now_ns = self._fleet.environment.now_ns()
        try:
            recipients = self._recipients(sender, message)
        except CoordError:
            if known := self._store.recipients(message.message_id):
                return list(known)  # It was sent before, whatever has become of them since.
            raise
        kept = pb.WorkerMessage()
        kept.CopyFrom(message)
        kept.sender = sender
        kept.sent_at.CopyFrom(timestamp(now_ns))
        default_ns = _OPERATORS_NS if recipients == [OPERATOR] else _TIME_TO_LIVE_NS
        expires_ns = now_ns + (duration_ns(message.time_to_live) or default_ns)
        # To the end also where the sender goes away: what is stored is not delivered a second time.
        return await asyncio.shield(self._post(Letter(kept, tuple(recipients), expires_ns)))

    async def _post(self, letter: Letter) -> list[str]:
        known = await self._store.post(self._fleet.project, letter)
        if known is not None:  # It was sent before.
            return list(known)
        message = letter.message
        for name in letter.recipients:
            self._waiting.setdefault(name, {})[message.message_id] = letter
            worker = self._fleet.workers.get(name)
            if worker is not None:
                self._push(worker, message)
        return list(letter.recipients)

    def deliver(self, worker: Worker) -> None:
        """Tell a worker what waits for it and is not on its way already."""
        on_its_way = {
            one.worker_message.message_id
            for one in worker.session.undelivered()
            if one.WhichOneof("message") == "worker_message"
        }
        for message in self.unread(worker.name):
            if message.message_id not in on_its_way:
                self._push(worker, message)

    def unread(self, recipient: str) -> list[pb.WorkerMessage]:
        """Return what waits for somebody and has not expired, oldest first."""
        now_ns = self._fleet.environment.now_ns()
        waiting = self._waiting.get(recipient, {}).values()
        return [letter.message for letter in waiting if letter.expires_ns > now_ns]

    def acknowledged(self, recipient: str, message_id: str) -> None:
        """Forget a message that its recipient has handled.

        That is stored soon, many at a time: a crash before it only sends the message again.
        """
        waiting = self._waiting.get(recipient, {})
        if waiting.pop(message_id, None) is None:
            return
        if not waiting:
            del self._waiting[recipient]
        self._routed.inc()
        self._receipts.put((recipient, message_id))

    async def close(self) -> None:
        """Store what has been handled; where the disk refuses, it is sent again after a restart."""
        await self._receipts.close()

    async def _store_receipts(self, receipts: list[tuple[str, str]]) -> list[None]:
        await insist(partial(self._store.received, self._fleet.project, receipts), "receipts")
        return [None] * len(receipts)

    def _push(self, worker: Worker, message: pb.WorkerMessage) -> None:
        if worker.version > 1:
            worker.session.push(worker_message=message)

    def _recipients(self, sender: str, message: pb.WorkerMessage) -> list[str]:
        kind, workers = message.WhichOneof("recipient"), self._fleet.workers
        if kind == "worker":
            known = message.worker in {OPERATOR, *workers, *self._fleet.gone}
            found = [message.worker] if known else []
        elif kind == "role":
            found = [one.name for one in workers.values() if message.role in one.hello.roles]
        else:
            found = list(workers)
        found = sorted(name for name in found if name != sender or kind == "worker")
        if not found:
            raise not_found("WORKER_NOT_FOUND", _nobody(message))
        for name in found:
            if len(self._waiting.get(name, {})) >= _WAITING_MAX:
                raise _full(name)
        return found


def _nobody(message: pb.WorkerMessage) -> str:
    if message.HasField("worker"):
        return f"no worker of the name {message.worker!r} was seen"
    if message.HasField("role"):
        return f"no worker is there that has the role {message.role!r}"
    return "no worker is there"


def _full(name: str) -> CoordError:
    return resource_exhausted(
        "MAILBOX_FULL",
        f"{_WAITING_MAX} messages wait for {name} already",
        retry_after_ns=10 * SECOND,
    )
