"""A queue that may crash, on its real store, in virtual time, beside the model of it."""

import asyncio
import tempfile
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import SECOND
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_queue.schema import MIGRATIONS
from coord_queue.service import QueueService, QueueSettings
from coord_queue.sqlite import SqliteQueueStore
from coord_runtime.calls import Call, once_of
from coord_runtime.database import Database, Options
from coord_runtime.service import ServiceContext
from coord_runtime.tokens import Kind, Principal
from hypothesis.stateful import RuleBasedStateMachine
from prometheus_client import CollectorRegistry

from tests.simulation.loop import VirtualTimeLoop
from tests.simulation.queue_model import AGEING_NS, LEASE_NS, Model, Now

PROJECT = "p"
CALLER = Principal(Kind.SERVICE, "tester", PROJECT)
_START_NS = 1_800_000_000 * SECOND


class QueueWorld(RuleBasedStateMachine):
    """One project's queue, and what it should say.

    Attributes:
        model: What it should say.
        attempts: Task and fencing token of all attempts that were ever given.
        answered: Handler, request and answer of all writes with a request id.
        events: All events so far.
        told: Each task's state, by the events alone.
        told_paused: Whether the queue is paused, likewise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.folder = tempfile.TemporaryDirectory()
        self.jumped_ns = 0
        self.lives = 0
        self.model = Model()
        self.attempts: list[tuple[str, int]] = []
        self.request_numbers = count()
        self.answered: list[tuple[str, Any, Any]] = []
        self.events: list[pb.QueueEvent] = []
        self.told: dict[str, pb.TaskState] = {}
        self.told_paused = False
        self.run(self.open())

    def run(self, steps: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(steps)

    def now(self) -> Now:
        monotonic_ns = round(self.loop.now_s * SECOND)
        return Now(_START_NS + monotonic_ns + self.jumped_ns, monotonic_ns)

    async def open(self) -> None:
        self.lives += 1
        environment = Environment(
            lambda: self.now().wall_ns, lambda: self.now().monotonic_ns, Random(self.lives)
        )
        # A crash of the process needs no sync to disk; the traced run looks after that.
        options = Options(environment, inline=True, synchronous=False, migrations=MIGRATIONS)
        self.database = Database(Path(self.folder.name) / "queue.db", options)
        chance, now_ns = environment.random, environment.now_ns
        store = SqliteQueueStore(self.database, now_ns, chance, AGEING_NS)
        context = ServiceContext(
            name="queue",
            project=PROJECT,
            folder=Path(self.folder.name),
            environment=environment,
            registry=CollectorRegistry(),
            channel=pytest.fail,
        )
        self.service = QueueService(context, QueueSettings(lease_s=LEASE_NS / SECOND), store)
        await self.service.start()

    async def die(self, adding: Coroutine[Any, Any, Any], ticks: int) -> bool:
        """Begin a write, and crash some steps later; return whether it was acknowledged."""
        write = asyncio.ensure_future(adding)
        for _ in range(ticks):
            await asyncio.sleep(0)
        self.database.crash()
        acknowledged = write.done()
        for one in (write, *self.service._loops):
            one.cancel()
        await asyncio.gather(write, *self.service._loops, return_exceptions=True)
        return acknowledged

    def teardown(self) -> None:
        self.run(self.service.stop())
        self.loop.close()
        self.folder.cleanup()

    def call(self, method: str, **fields: Any) -> Any:
        """Call a handler as the pipeline would; remember the writes that name themselves."""
        return self.together((method, fields))[0]

    def together(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Call handlers at the same time, first come first served."""
        requests = [(method, self.request(method, **fields)) for method, fields in calls]

        async def gather() -> list[Any]:
            return await asyncio.gather(*(self.handle(*one) for one in requests))

        responses: list[Any] = self.run(gather())
        for (method, request), response in zip(requests, responses, strict=True):
            if "request_id" in request.DESCRIPTOR.fields_by_name:
                self.answered.append((method, request, response))
        return responses

    def request(self, method: str, **fields: Any) -> Any:
        name = "".join(word.capitalize() for word in method.split("_"))
        request = getattr(pb, f"{name}Request")(project=PROJECT, **fields)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = f"r{next(self.request_numbers)}"
        return request

    async def handle(self, method: str, request: Any) -> Any:
        response = getattr(pb, f"{type(request).__name__.removesuffix('Request')}Response")
        once = once_of(request, CALLER, method, response)
        copy = type(request)()
        copy.CopyFrom(request)
        return await getattr(self.service, method)(copy, Call(CALLER, method, once))

    def refused(self, reason: str, method: str, **fields: Any) -> None:
        with pytest.raises(CoordError) as caught:
            self.call(method, **fields)
        assert caught.value.reason == reason

    # What is picked out of what there is.

    def id_of(self, number: int) -> str:
        ids = list(self.model.tasks)
        return ids[number % len(ids)] if ids else "ghost"

    def attempt(self, number: int, *, wrong: bool = False) -> common_pb2.AttemptRef:
        """One of the newest attempts, or an old one; a wrong one names another's token."""
        task_id, token = self.attempts[-1 - number % len(self.attempts)]
        task_id = self.id_of(number) if wrong else task_id
        return common_pb2.AttemptRef(task_id=task_id, fencing_token=token)
