"""What goes wrong around a whole simulation: machines that die or stand still, disks, clocks."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from coord.errors import CoordError
from coord.times import SECOND

from tests.simulation.crew import Crew
from tests.simulation.network import Faults
from tests.simulation.plan import Plan
from tests.simulation.world import World

_DOWN_S = (0.0, 0.5, 3.0, 12.0)
# Longer than the grace of a worker, too.
_AWAY_S = (0.0, 3.0, 40.0)
_JUMP_S = 30
_FULL_S_MAX = 8.0
_STOP_S = (2.0, 20.0, 120.0)
# How long a machine may have run before.
_UP_S_MAX = 1_000_000
# Whoever supervises a service starts it again after this time.
_AGAIN_S = 1.0


class Storms:
    """Goes on until cancelled, each kind by itself."""

    def __init__(self, world: World, plan: Plan, crew: Crew) -> None:
        self._world = world
        self._chance = world.chance
        self._plan = plan
        self._crew = crew
        # Who has a machine in hand: nobody else kills or starts it meanwhile.
        self._hands: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def weather(self) -> Faults:
        """Return how bad the network is while the storm lasts."""
        chance, kinds = self._chance, self._plan.kinds
        return Faults(
            delay_s=chance.choice([0.01, 0.1, 0.5]) if "delays" in kinds else 0.0,
            drop=chance.choice([0.01, 0.05]) if "drops" in kinds else 0.0,
            repeat=chance.choice([0.02, 0.3]) if "repeats" in kinds else 0.0,
            late=chance.choice([0.0, 0.02]) if "repeats" in kinds else 0.0,
            cut_s=chance.choice([5.0, 30.0]) if "cuts" in kinds else 0.0,
            dead=0.3 if "cuts" in kinds else 0.0,
            stall_s=chance.choice([10.0, 60.0]) if "stalls" in kinds else 0.0,
        )

    def all(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to go on at the same time."""
        kinds, names = self._plan.kinds, self._world.names
        storms = [self._crash(name) for name in names] if "crashes" in kinds else []
        storms += [self._cut_power()] if "power" in kinds else []
        storms += [self._fill_disks()] if "full-disks" in kinds else []
        storms += [self._part()] if "partitions" in kinds else []
        storms += [self._stop()] if "stops" in kinds else []
        storms += [self._set_wall_clocks()] if "clocks" in kinds else []
        if "worker-crashes" in kinds:
            storms += [self._crash_worker(name) for name in self._crew.names]
        return storms

    async def _crash(self, name: str) -> None:
        every_s = self._chance.choice([5.0, 15.0, 60.0])
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            await self._down([name], f"crash: {name}")

    async def _crash_worker(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 30))
            await self._down([name], "worker crash", _AWAY_S)

    async def _cut_power(self) -> None:
        """Let all machines die at the same moment."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 60))
            await self._down([*self._world.names, *self._crew.names], "power cut")

    async def _down(
        self, names: Sequence[str], why: str, longest_s: Sequence[float] = _DOWN_S
    ) -> None:
        """Kill what runs on machines, and start it again after a while."""
        async with AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(self._hands[name])
            self._world.network.inject(why, " ".join(names))
            for name in names:
                self._kill(name)
            try:
                await asyncio.sleep(self._chance.choice(longest_s) * self._chance.random())
            finally:
                if "clocks" in self._plan.kinds:
                    self._set_clocks(names)
                for name in self._chance.sample(names, len(names)):
                    await self._start(name)

    def _kill(self, name: str) -> None:
        if name in self._world.names:
            self._world.crash_service(name)
        else:
            self._crew.crash(name)

    async def _start(self, name: str) -> None:
        if name in self._crew.names:
            self._crew.start(name)
        else:
            while not await self._has_started(name):
                await asyncio.sleep(_AGAIN_S)

    async def _has_started(self, name: str) -> bool:
        try:
            await self._world.start_service(name)
        except CoordError as error:
            self._world.network.note(f"{name} did not start: {error.reason}")
            self._world.crash_service(name)
            return False
        return True

    def _set_clocks(self, names: Sequence[str]) -> None:
        """Let machines be other ones by chance, of whose clocks only the wall's is the same.

        The limiter stays where it is: it has to believe one of its clocks.
        """
        for name in names:
            if name != "limiter" and self._chance.random() < 0.5:
                self._world.up_ns[name] = self._chance.randint(0, _UP_S_MAX) * SECOND
            if self._chance.random() < 0.6:
                self._jump(name)

    async def _fill_disks(self) -> None:
        """Leave no room on the disk of a service, or of all of them, for a while."""
        full = self._world.full
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 30))
            names = self._world.names
            for name in names if self._chance.random() < 0.3 else [self._chance.choice(names)]:
                self._world.network.inject("full disk", name)
                full[name] = None
            try:
                await asyncio.sleep(self._chance.uniform(0, _FULL_S_MAX))
            finally:
                full.clear()

    async def _stop(self) -> None:
        """Let a process stand still, and go on."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 30))
            name = self._chance.choice([*self._world.names, *self._crew.names])
            running = (self._world.network.machines | self._crew.machines).get(name)
            if running is None:
                continue
            self._world.network.inject("stop", name)
            running.stand_still()
            try:
                await asyncio.sleep(self._chance.choice(_STOP_S) * self._chance.random())
            finally:
                self._world.network.note(f"{name} goes on")
                running.go_on()

    async def _part(self) -> None:
        """Cut some machines off from the others, and let them come together again."""
        apart = self._world.network.apart
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 25))
            machines = [*self._world.names, *self._crew.names]
            for name in self._chance.sample(machines, self._chance.randint(1, 2)):
                self._world.network.inject("partition", name)
                apart[name] = None
            try:
                await asyncio.sleep(self._chance.choice([0.5, 5.0, 40.0]) * self._chance.random())
            finally:
                apart.clear()

    async def _set_wall_clocks(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 40))
            self._jump(self._chance.choice(self._world.names))

    def _jump(self, name: str) -> None:
        """Set the wall clock of a machine ahead or back."""
        ahead_s = self._chance.randint(-_JUMP_S, _JUMP_S)
        self._world.network.inject("clock jump", f"{name} {ahead_s}")
        self._world.ahead_ns[name] = ahead_s * SECOND
