"""What goes wrong around a whole simulation: crashes, partitions, clocks that jump."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from coord.times import SECOND

from tests.simulation.crew import Crew
from tests.simulation.network import Faults
from tests.simulation.plan import Plan
from tests.simulation.world import World

_DOWN_S = (0.0, 0.5, 3.0, 12.0)
_JUMP_S = 30


class Storms:
    """Goes on until cancelled, each kind by itself."""

    def __init__(self, world: World, plan: Plan, crew: Crew) -> None:
        self._world = world
        self._chance = world.chance
        self._plan = plan
        self._crew = crew

    def weather(self) -> Faults:
        """Return how bad the network is while the storm lasts."""
        chance, kinds = self._chance, self._plan.kinds
        return Faults(
            delay_s=chance.choice([0.01, 0.1, 0.5]) if "delays" in kinds else 0.0,
            drop=chance.choice([0.01, 0.05]) if "drops" in kinds else 0.0,
            repeat=chance.choice([0.02, 0.3]) if "repeats" in kinds else 0.0,
            cut_s=chance.choice([5.0, 30.0]) if "cuts" in kinds else 0.0,
            dead=0.3 if "cuts" in kinds else 0.0,
            stall_s=chance.choice([10.0, 60.0]) if "stalls" in kinds else 0.0,
        )

    def all(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to go on at the same time."""
        kinds, names = self._plan.kinds, self._world.names
        storms = [self._crash(name) for name in names] if "crashes" in kinds else []
        storms += [self._part()] if "partitions" in kinds else []
        storms += [self._jump()] if "clocks" in kinds else []
        if "worker-crashes" in kinds:
            storms += [self._crash_worker(name) for name in self._crew.names]
        return storms

    async def _crash(self, name: str) -> None:
        every_s = self._chance.choice([10.0, 30.0, 90.0])
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            self._world.network.inject(f"crash: {name}")
            self._world.crash_service(name)
            try:
                await asyncio.sleep(self._chance.choice(_DOWN_S) * self._chance.random())
            finally:
                await self._world.start_service(name)

    async def _crash_worker(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 30))
            self._crew.crash(name)
            try:
                await asyncio.sleep(self._chance.choice(_DOWN_S) * self._chance.random())
            finally:
                self._crew.start(name)

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

    async def _jump(self) -> None:
        """Set the wall clock of a service ahead or back."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 40))
            name = self._chance.choice(self._world.names)
            ahead_s = self._chance.randint(-_JUMP_S, _JUMP_S)
            self._world.network.inject("clock jump", f"{name} {ahead_s}")
            self._world.ahead_ns[name] = ahead_s * SECOND
