"""One history of the whole: all services, a crew, operators, and everything that goes wrong."""

import asyncio
import gc
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import structlog
from coord.errors import CoordError
from coord_ledger import prices

from tests.simulation.crew import MODEL, Crew
from tests.simulation.git import DrawnTruth, Repository
from tests.simulation.loop import VirtualTimeLoop
from tests.simulation.network import Faults
from tests.simulation.operators import Operators
from tests.simulation.plan import Plan
from tests.simulation.storms import Storms
from tests.simulation.watch import Watch, done
from tests.simulation.worker import SLEEPY, SleepyWorker
from tests.simulation.world import World

_COMMIT_S = 0.01
_LOOK_S = 1.0
# With all faults off, everything that is left is done by then; a worker alone takes longer.
_CALM_S, _CALM_S_A_TASK, _CALM_S_ALONE = 600.0, 30.0, 90.0
_MEMORY = Path("/dev/shm")
_FAILURES = (AssertionError, CoordError, RuntimeError, TimeoutError)


@dataclass(frozen=True)
class Outcome:
    """How a history went.

    Attributes:
        plan: What it was made of.
        broken: What must not have been; empty where all held.
        digest: The same for the same history only.
        steps: How much happened.
        virtual_s: How long it lasted, in virtual seconds.
        injected: How many faults there were, by kind.
        tail: The last that happened.
    """

    plan: Plan
    broken: str
    digest: str
    steps: int
    virtual_s: float
    injected: Counter[str]
    tail: tuple[str, ...]


def run(plan: Plan) -> Outcome:
    """Run a history, on disks in memory."""
    if prices._LIST not in sys.modules:
        import_module(prices._LIST)
    shared = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as folder, _quiet(), _tidy():
        loop = VirtualTimeLoop()
        try:
            return loop.run_until_complete(_Whole(Path(folder), plan).run())
        finally:
            _end(loop)


class _Whole:
    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._repository = _repository(plan)
        self._world = world = World(
            folder, plan.seed, repository=self._repository, commit_s=_COMMIT_S
        )
        priced = folder / "prices.toml"
        priced.write_text(f'[[prices]]\nmodel = "{MODEL}"\ninput = 1\noutput = 2\n')
        world.settings["ledger"] = {"prices": str(priced)}
        self._crew = Crew(world, plan, self._repository)
        self._operators = Operators(world, plan, self._crew, self._repository)
        self._sleepy: SleepyWorker | None = None
        self._watch: Watch

    async def run(self) -> Outcome:
        """Live through the history."""
        broken = ""
        try:
            await self._live()
        except _FAILURES as error:
            broken = f"{type(error).__name__}: {error}"
        network = self._world.network
        return Outcome(
            self._plan,
            broken,
            network.trace.digest(),
            network.trace.steps,
            asyncio.get_running_loop().time(),
            network.injected,
            tuple(network.trace.tail),
        )

    async def _live(self) -> None:
        world = self._world
        await world.start()
        self._watch = Watch(world, self._repository)
        await self._operators.prepare()
        storms = Storms(world, self._plan, self._crew)
        world.network.faults = storms.weather()
        for name in self._crew.names:
            self._crew.start(name)
        if self._repository is None and "lies" in self._plan.kinds:
            self._sleepy = world.start_sleepy_worker(SLEEPY)
        adding = asyncio.create_task(self._operators.add())
        meddling = [*storms.all()]
        meddling += [self._operators.meddle()] if "operators" in self._plan.kinds else []
        meddling += [self._operators.lie()] if "lies" in self._plan.kinds else []
        await self._weather(meddling)
        await self._calm(adding)

    async def _weather(self, meddling: list[Coroutine[Any, Any, None]]) -> None:
        """Let everything go wrong for a while, and look on."""
        tasks = [asyncio.create_task(one) for one in meddling]
        until_s = asyncio.get_running_loop().time() + self._plan.storm_s
        while asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(_LOOK_S)
            self._watch.look()
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def _calm(self, adding: "asyncio.Task[None]") -> None:
        """With all faults off everything finishes, and all that was said is heard."""
        network, truth = self._world.network, self._repository and self._repository.truth
        network.faults = Faults()
        network.note("calm")
        self._crew.calm = True
        if self._sleepy:
            self._sleepy.machine.die()
        if truth:
            truth.flake = 0.0
        settling = asyncio.create_task(self._operators.settle())
        task_s = max(_CALM_S_A_TASK, _CALM_S_ALONE / self._plan.workers)
        limit_s = _CALM_S + task_s * self._plan.tasks
        deadline_s = asyncio.get_running_loop().time() + limit_s
        while left := await self._left(adding, settling):
            self._watch.look()
            if asyncio.get_running_loop().time() > deadline_s:
                raise AssertionError(await self._stuck(left))
            await asyncio.sleep(2 * _LOOK_S)
        self._watch.look()
        self._check_end()

    async def _left(self, *doing: "asyncio.Task[None]") -> list[str]:
        for task in doing:
            if task.done():
                task.result()
        if not all(task.done() for task in doing):
            return ["the operators are not done"]
        return await self._operators.left() or self._crew.said.missing() or self._orphans()

    def _orphans(self) -> list[str]:
        """Return the claims that no attempt and no process holds any more."""
        holding = self._crew.holding
        return [
            f"{claim_id} of {claim.holder} is released"
            for claim_id, claim in self._watch.claims.held.items()
            if claim_id not in holding[claim.holder]
        ]

    async def _stuck(self, left: list[str]) -> str:
        why = await self._operators.why(left[0]) if left[0] in self._operators.added else ""
        return f"never done: {left[:5]}: {why}"

    def _check_end(self) -> None:
        watch = self._watch
        # One more may be there: its operator went away before the answer came.
        assert set(watch.queue.states) >= set(self._operators.added), "no task is lost"
        assert not self._crew.said.repeated(), self._crew.said.repeated()
        watch.money.check_end(self._crew.spent, self._crew.cost)
        for task_id, token in self._sleepy.done.items() if self._sleepy else ():
            assert watch.queue.completed[task_id] == token, "only the live attempt has an effect"
        if self._repository is None:
            return
        for task_id, token in watch.queue.completed.items():
            state = watch.changes.get(f"{task_id}@{token}")
            assert done(state), f"{task_id}@{token} is done, its change is {state}"
        for task_id, tokens in watch.landed().items():
            done_by = watch.queue.completed.get(task_id)
            assert tokens == [done_by], f"{task_id} is done by {done_by}, and {tokens} have landed"
        landed = Counter(self._repository.landings)
        assert not landed or max(landed.values()) == 1, "each change lands once"


def _repository(plan: Plan) -> Repository | None:
    if not plan.repository:
        return None

    def share(kind: str, value: float) -> float:
        return value if kind in plan.kinds else 0.0

    truth = DrawnTruth(
        plan.seed,
        bad=share("red", 0.1),
        clash=share("clashes", 0.02),
        conflict=share("conflicts", 0.03),
        flake=share("flakes", 0.05),
    )
    return Repository(truth)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing meanwhile: what services log of a storm is of no use."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


@contextmanager
def _tidy() -> Iterator[None]:
    """Collect no garbage meanwhile: what it ends would end at a time that no seed decides."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _end(loop: VirtualTimeLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
