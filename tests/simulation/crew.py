"""The workers of a whole simulation: the SDK's own, and what agents do in them."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import coord
import grpc.aio
from coord.attempt import Attempt
from coord.errors import CoordError
from coord.identity import Identity
from coord.task import TaskFailed, TaskReleased
from coord.times import SECOND
from coord.v1 import claims_pb2, common_pb2, queue_pb2
from coord_runtime.tokens import Kind

from tests.simulation.git import Repository
from tests.simulation.machine import Machine
from tests.simulation.plan import Plan
from tests.simulation.polling import PollingChannel
from tests.simulation.world import PROJECT, World

MODEL = "model"
BUCKETS = ("key",)
_PATHS = ("src/**", "src/a.py", "docs/*", "docs/b.md")
_CRAWL = 6.0
# How long an agent goes on that was told to stop.
_LINGER_S = 3.0
_SPENT_MAX = 100_000
# What a token costs.
_INPUT_NANOS, _OUTPUT_NANOS = 1_000, 2_000


@dataclass
class Said:
    """What the workers of one history have said to one another.

    Attributes:
        sent: Recipients of the messages whose sending was acknowledged, by body.
        heard: How often each process of a worker has read each body.
    """

    sent: dict[str, list[str]] = field(default_factory=dict)
    heard: Counter[tuple[str, int, str]] = field(default_factory=Counter)

    def missing(self) -> list[str]:
        """Return the messages that have not been read."""
        read = {(worker, body) for worker, _, body in self.heard}
        return [
            f"{body} to {worker}"
            for body, workers in self.sent.items()
            for worker in workers
            if (worker, body) not in read
        ]

    def repeated(self) -> list[tuple[str, int, str]]:
        """Return what one process has read more than once."""
        return [what for what, count in self.heard.items() if count > 1]


class Crew:
    """All workers: starts them, lets them die, and does what their agents do.

    Attributes:
        said: Their messages.
        spent: What they have told of their costs, as far as that was acknowledged, by task.
        cost: The most that they can have cost, by attempt.
        holding: The claims that are no attempt's, but of the process that runs, by worker.
        machines: Those that run, by name.
    """

    def __init__(self, world: World, plan: Plan, repository: Repository | None) -> None:
        self.said = Said()
        self.spent: Counter[str] = Counter()
        self.cost: Counter[str] = Counter()
        self.holding: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.machines: dict[str, Machine] = {}
        self.calm = False
        self._world = world
        self._chance = world.chance
        self._plan = plan
        self._repository = repository
        self._at_work: dict[str, str] = {}
        if repository is not None:
            repository.agent = lambda worker: self._at_work.get(worker, "")
        self._lives = 0
        self._letters = 0
        self._edits = 0

    @property
    def names(self) -> list[str]:
        return [f"w{number}" for number in range(self._plan.workers)]

    def start(self, name: str) -> None:
        """Start a worker's process."""
        self._lives += 1
        machine = self.machines[name] = Machine(name)
        machine.run(self._live(name, machine, self._lives))

    def crash(self, name: str) -> None:
        """Kill a worker's process."""
        self.holding.pop(name, None)
        self._at_work.pop(name, None)
        self.machines.pop(name).die()

    async def _live(self, name: str, machine: Machine, life: int) -> None:
        """Work, and come back after a drain as an operator's supervisor would have it."""
        world = self._world
        identity = Identity("", world.token(Kind.WORKER, name), PROJECT, name)
        while True:
            worker = _Worker(
                identity,
                prefetch=0 if self._repository else self._chance.choice([0, 2]),
                buckets=BUCKETS if "limits" in self._plan.kinds else (),
                roles=["crew"],
                environment=world.environment,
            )
            worker.on_acknowledged = self._acknowledged
            worker.holding = self.holding[name] = {}
            worker.handler(partial(self._work, worker, machine))
            reading = asyncio.create_task(self._read(worker, name, life))
            try:
                await worker.serve_on(self._channel(worker, identity.token, machine))
            except CoordError as error:
                world.network.note(f"{name} gave up: {error.reason}")
            finally:
                reading.cancel()
            life = self._lives = self._lives + 1
            await asyncio.sleep(self._chance.uniform(0.5, 5))

    def _channel(self, worker: "_Worker", token: str, machine: Machine) -> grpc.aio.Channel:
        channel = self._world.network.channel("coordinator", token, machine)
        if "polls" in self._plan.kinds and self._chance.random() < 0.3:
            self._world.network.note(f"{machine.name} polls")
            return PollingChannel(channel, self._chance, worker.held)
        return channel

    def _acknowledged(self, ref: common_pb2.AttemptRef) -> None:
        if self._world.is_worked_at(ref):
            what = f"{ref.task_id}@{ref.fencing_token} was acknowledged before it was on disk"
            self._world.network.broken.append(what)

    async def _read(self, worker: "_Worker", name: str, life: int) -> None:
        while True:
            message = await worker.receive()
            self.said.heard[name, life, message.body] += 1

    async def _work(self, worker: "_Worker", machine: Machine, task: coord.Task) -> str:
        """Be an agent: edit, ask, claim, spend, write, and end somehow."""
        pace = _CRAWL if "crawl" in self._plan.kinds and self._chance.random() < 0.1 else 1.0
        self._world.network.note(f"{machine.name} begins {_name(task)}")
        self._at_work[machine.name] = _name(task)
        try:
            for _ in range(self._chance.randint(1, 8)):
                await asyncio.sleep(self._chance.uniform(0, 1.5 * pace))
                self._edit(machine.name, task)
                await self._do_something(worker, task)
            if not self.calm:
                await self._fail(task)
        except asyncio.CancelledError:
            if machine.alive:  # Who is told to stop first writes down what it has.
                if self._chance.random() < 0.5:
                    await asyncio.sleep(self._chance.uniform(0, _LINGER_S))
                self._edit(machine.name, task)
            raise
        finally:
            if self._at_work.get(machine.name) == _name(task):
                del self._at_work[machine.name]
        return "done"

    def _edit(self, name: str, task: coord.Task) -> None:
        folder = self._repository and self._repository.folders.get(name)
        if folder and self._chance.random() < 0.9:
            self._edits += 1
            folder.files |= {f"{_name(task)}.{self._edits}"}

    async def _do_something(self, worker: "_Worker", task: coord.Task) -> None:
        kinds = self._plan.kinds
        doings: list[Any] = [self._progress]
        doings += [self._claim] if "claims" in kinds else []
        doings += [self._call] * 3 if kinds & {"budgets", "limits"} else []
        doings += [self._rush] if "limits" in kinds else []
        doings += [self._spend] if "budgets" in kinds else []
        doings += [self._conflicts] if self._repository else []
        doings += [self._flood] if "floods" in kinds else []
        doings += [partial(self._write, worker)] if "messages" in kinds else []
        doings += [partial(self._hold, worker)] if "claims" in kinds else []
        try:
            await self._chance.choice(doings)(task)
        except CoordError as error:
            self._world.network.note(f"{task.id} was refused: {error.reason}")

    async def _progress(self, task: coord.Task) -> None:
        task.progress("on the way", self._chance.random())

    async def _claim(self, task: coord.Task) -> None:
        path, shared = self._chance.choice(_PATHS), self._chance.random() < 0.3
        async with asyncio.timeout(60):
            async with task.claim(path, shared=shared):
                await asyncio.sleep(self._chance.uniform(0, 3))

    async def _hold(self, worker: "_Worker", task: coord.Task) -> None:
        """Claim what is no attempt's, such as a port that the worker keeps."""
        self._world.network.note(f"{task.id} holds {await worker.hold()}")

    async def _call(self, task: coord.Task) -> None:
        """Call a model that uses what it said, less, or more; or that is too busy."""
        tokens = self._chance.randint(1, self._chance.choice([60, 200]))
        async with task.admit(model=MODEL, input_tokens=tokens, max_output_tokens=tokens) as call:
            self.cost[_name(task)] += tokens * (_INPUT_NANOS + _OUTPUT_NANOS)
            await asyncio.sleep(self._chance.uniform(0, 2))
            fate = self._chance.random()
            if fate < 0.6:
                used = self._chance.choice([tokens // 2, 2 * tokens])
                call.settle(common_pb2.Usage(input_tokens=tokens, output_tokens=used))
                self.cost[_name(task)] += (used - tokens) * _OUTPUT_NANOS
            elif fate < 0.7:
                call.give_back()
            elif fate < 0.8 and not self.calm:
                call.refused({"retry-after": str(self._chance.randint(1, 10))})

    async def _rush(self, task: coord.Task) -> None:
        """Call several times at once, so that next to nothing is left of the rate."""
        calls = (self._call(task) for _ in range(4))
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _spend(self, task: coord.Task) -> None:
        """Tell of a cost that nobody was asked about before."""
        nanos = self._chance.randint(1, _SPENT_MAX)
        self.cost[_name(task)] += nanos
        await task.spent(nanos, usage=common_pb2.Usage(input_tokens=nanos // 1_000))
        self.spent[task.id] += nanos

    async def _conflicts(self, task: coord.Task) -> None:
        await task.conflicts()

    async def _flood(self, task: coord.Task) -> None:
        self._world.network.inject("flood", task.id)
        for _ in range(30):
            task.progress("again", self._chance.random())

    async def _write(self, worker: "_Worker", task: coord.Task) -> None:
        self._letters += 1
        body = f"letter {self._letters} of {task.id}"
        to = {"worker": self._chance.choice(self.names)} if self._chance.random() < 0.7 else {}
        self.said.sent[body] = await worker.send(body, **to)

    async def _fail(self, task: coord.Task) -> None:
        if "failures" not in self._plan.kinds:
            return
        fate = self._chance.random()
        if fate < 0.25:
            self._world.network.inject("failure", task.id)
        if fate < 0.08:
            raise TaskFailed("by chance")
        if fate < 0.12:
            raise TaskReleased("by chance")
        if fate < 0.17:
            later = datetime.fromtimestamp(self._world.environment.now_ns() / SECOND, UTC)
            reason = queue_pb2.FAILURE_REASON_RATE_LIMITED
            raise TaskFailed("limit", reason=reason, not_before=later + timedelta(seconds=5))
        if fate < 0.22:
            await asyncio.Event().wait()
        if fate < 0.25:
            raise RuntimeError("by chance")


def _name(task: coord.Task) -> str:
    return f"{task.id}@{task.ref.fencing_token}"


class _Worker(coord.Worker):
    """Tells which ends of attempts were acknowledged, and holds claims of its own."""

    on_acknowledged: Any
    holding: dict[str, None]

    def held(self) -> list[common_pb2.AttemptRef]:
        return self._held()

    async def hold(self) -> str:
        claim_id = self._environment.new_id("claim-")
        resources = [claims_pb2.Resource(name=claim_id)]
        self.holding[claim_id] = None
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=resources)
        await self._questions.ask(claim_id, request)
        return claim_id

    def _lose(self, claim_id: str) -> None:
        self.holding.pop(claim_id, None)
        super()._lose(claim_id)

    async def _report(self, attempt: Attempt) -> None:
        reported = attempt.outcome() is not None
        await super()._report(attempt)
        if reported:
            self.on_acknowledged(attempt.task.ref)
