"""The merged stream: the events of all services, each service in order, causes first."""

import asyncio
import base64
import binascii
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from coord.v1 import (
    coordinator_pb2,
    integrator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)
from coord_runtime.checks import invalid_field

from coord_coordinator.services import Services
from coord_coordinator.store import CoordinatorStore

_SERVICES = ("coordinator", "integrator", "ledger", "limiter", "queue")
_BUFFER = 1_000

Arrival = tuple[str, Any]


class MergedEvents:
    """Merges the services' events for one watcher after another."""

    def __init__(self, services: Services, store: CoordinatorStore) -> None:
        self._services = services
        self._store = store

    async def watch(self, project: str, after: str) -> AsyncIterator[coordinator_pb2.Event]:
        """Yield events from a cursor on, for ever.

        Raises:
            CoordError: INVALID_ARGUMENT for a cursor that is none.
        """
        cursor = parse_cursor(after)
        arrivals: asyncio.Queue[Arrival] = asyncio.Queue(_BUFFER)
        sources = [
            asyncio.create_task(self._feed(name, project, cursor[name], arrivals))
            for name in _SERVICES
        ]
        try:
            merger = Merger(cursor)
            while True:
                for event in merger.add(*await arrivals.get()):
                    yield event
        finally:
            for source in sources:
                source.cancel()
            for source in sources:
                with suppress(asyncio.CancelledError):
                    await source

    async def _feed(
        self, name: str, project: str, after: int, arrivals: asyncio.Queue[Arrival]
    ) -> None:
        async for event in self._events(name, project, after):
            await arrivals.put((name, event))

    async def _events(self, name: str, project: str, after: int) -> AsyncIterator[Any]:
        if name == "coordinator":
            async for events in self._store.watch(project, after):
                for event in events:
                    yield event
            return
        services = self._services
        watches: dict[str, tuple[Callable[..., Any], Any]] = {
            "integrator": (
                services.integrator.WatchIntegratorEvents,
                integrator_pb2.WatchIntegratorEventsRequest,
            ),
            "ledger": (services.ledger.WatchLedgerEvents, ledger_pb2.WatchLedgerEventsRequest),
            "limiter": (services.limiter.WatchLimiterEvents, limiter_pb2.WatchLimiterEventsRequest),
            "queue": (services.queue.WatchQueueEvents, queue_pb2.WatchQueueEventsRequest),
        }
        watch, request = watches[name]
        async for event in services.follow(watch, request(project=project, after=after)):
            yield event


class Merger:
    """Puts events in an order in which no effect comes before its cause."""

    def __init__(self, cursor: dict[str, int]) -> None:
        self._cursor = dict(cursor)
        self._waiting: dict[str, deque[Any]] = {name: deque() for name in cursor}

    def add(self, name: str, event: Any) -> list[coordinator_pb2.Event]:
        """Take an event of a service; return what can be sent now."""
        self._waiting[name].append(event)
        sendable: list[coordinator_pb2.Event] = []
        while ready := [one for one in self._waiting if self._can_go(one)]:
            sendable += [self._send(one) for one in ready]
        return sendable

    def _can_go(self, name: str) -> bool:
        if not self._waiting[name]:
            return False
        cause = self._waiting[name][0].meta.cause
        return bool(cause.sequence <= self._cursor.get(cause.service, cause.sequence))

    def _send(self, name: str) -> coordinator_pb2.Event:
        event = self._waiting[name].popleft()
        self._cursor[name] = event.meta.sequence
        return coordinator_pb2.Event(
            cursor=format_cursor(self._cursor), name=name_of(name, event), **{name: event}
        )


def parse_cursor(cursor: str) -> dict[str, int]:
    """Return the number of the last event sent of each service."""
    if not cursor:
        return dict.fromkeys(_SERVICES, 0)
    try:
        numbers = json.loads(base64.urlsafe_b64decode(cursor))
        return {name: int(numbers[name]) for name in _SERVICES}
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise invalid_field("after", "use the cursor of an event") from None


def format_cursor(numbers: dict[str, int]) -> str:
    """Return an opaque cursor."""
    return base64.urlsafe_b64encode(json.dumps(numbers, separators=(",", ":")).encode()).decode()


def name_of(service: str, event: Any) -> str:
    """Return an event's name in the vocabulary of Coord."""
    if service == "queue" and event.kind:
        kind = queue_pb2.QueueEventKind.Name(event.kind).removeprefix("QUEUE_EVENT_KIND_")
        return f"queue:{kind.lower()}"
    if service == "queue":
        state = queue_pb2.TaskState.Name(event.to_state).removeprefix("TASK_STATE_").lower()
        return f"coord:{state}" if state in ("assigned", "complete") else f"queue:{state}"
    if service == "coordinator":
        return _coordinator_name(event)
    kind = str(event.WhichOneof("kind"))
    named = _KINDS.get((service, kind))
    if kind == "change_moved":
        return _change_name(event.change_moved.change)
    return named or f"{service}:{kind}"


_KINDS = {
    ("integrator", "conflict_changed"): "coord:conflict",
    ("ledger", "budget_warned"): "coord:budget-warning",
    ("ledger", "budget_exceeded"): "coord:budget-exceeded",
    ("limiter", "exhausted"): "coord:rate-limited",
}


def _coordinator_name(event: coordinator_pb2.CoordinatorEvent) -> str:
    code = event.reason.code
    if code == "RATE_LIMITED":
        return "coord:rate-limited"
    if event.HasField("claim"):
        return f"claim:{code.removeprefix('CLAIM_').lower()}"
    if event.HasField("routed"):
        return f"message:{code.removeprefix('MESSAGE_').lower()}"
    return f"worker:{code.lower()}" if event.worker else f"project:{code.lower()}"


def _change_name(change: integrator_pb2.Change) -> str:
    state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_").lower()
    return f"change:{state}"
