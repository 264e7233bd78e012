"""A model of changes and checks: every run takes one unit of time.

A set of changes is sound if none of them fails alone and no two of them clash; a run on a sound set
is green but for flakes.
"""

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

Changes = tuple[int, ...]


@dataclass(frozen=True)
class Odds:
    """How likely what is: that a change fails, that two clash, that a run flakes."""

    fail: float
    clash: float
    flake: float


class World:
    """Changes, what is the matter with them, and what has become of them."""

    def __init__(self, seed: int, odds: Odds, count: int) -> None:
        self._chance = Random(seed)
        self._odds = odds
        self._bad = {one for one in range(count) if self._happens(odds.fail)}
        self._clashes: list[set[int]] = [set() for _ in range(count)]
        for one in range(count):
            for other in range(one):
                if self._happens(odds.clash):
                    self._clashes[one].add(other)
                    self._clashes[other].add(one)
        self.count = count
        self.ended: dict[int, float] = {}
        self.landed: set[int] = set()
        self.runs = 0
        self.wrongly_rejected = 0

    @property
    def is_over(self) -> bool:
        return len(self.ended) == self.count

    def gap(self, rate: float) -> float:
        """Return the time to the next arrival, of so many a unit of time."""
        return self._chance.expovariate(rate)

    def passes(self, changes: Collection[int]) -> bool:
        """Run the check on a set of changes."""
        self.runs += 1
        return self._is_sound(changes) and not self._happens(self._odds.flake)

    def land(self, changes: Collection[int], now: float) -> None:
        self.landed.update(changes)
        if not self._is_sound(self.landed):
            raise AssertionError("the target is red")
        self._end(changes, now)

    def reject(self, change: int, now: float) -> None:
        self._end((change,), now)
        self.wrongly_rejected += self._is_sound({*self.landed, change})

    def _end(self, changes: Collection[int], now: float) -> None:
        if not self.ended.keys().isdisjoint(changes):
            raise AssertionError("a change has ended twice")
        self.ended.update(dict.fromkeys(changes, now))

    def _is_sound(self, changes: Collection[int]) -> bool:
        among = set(changes)
        return among.isdisjoint(self._bad) and all(
            self._clashes[one].isdisjoint(among) for one in among
        )

    def _happens(self, odds: float) -> bool:
        return self._chance.random() < odds


class Strategy(Protocol):
    """A merge queue."""

    def arrive(self, change: int) -> None:
        """Take in a change."""

    def begin(self, now: float) -> Sequence[tuple[int, bool]]:
        """Begin runs, and return their numbers and how each will end."""

    def end(self, ended: Sequence[tuple[int, bool]], now: float) -> None:
        """Take in runs that have ended at the same time."""


Make = Callable[[World], Strategy]


def makespan(make: Make, world: World) -> float:
    """Return how long it takes until all changes, ready at once, have ended."""
    strategy = make(world)
    for change in range(world.count):
        strategy.arrive(change)
    now, under_way = 0.0, strategy.begin(0.0)
    while under_way:
        now += 1
        strategy.end(under_way, now)
        under_way = strategy.begin(now)
    if not world.is_over:
        raise AssertionError("some changes have not ended")
    return now


def latencies(make: Make, world: World, rate: float) -> list[float]:
    """Return how long each change took to land, from its arrival on; so many a unit arrive."""
    strategy = make(world)
    now, arrived = 0.0, []
    for _ in range(world.count):
        now += world.gap(rate)
        arrived.append(now)
    events: list[tuple[float, bool, int, bool]] = [
        (at, False, change, False) for change, at in enumerate(arrived)
    ]
    while events:
        now, is_run, number, passed = heapq.heappop(events)
        if is_run:
            strategy.end([(number, passed)], now)
        else:
            strategy.arrive(number)
        for run, outcome in strategy.begin(now):
            heapq.heappush(events, (now + 1, True, run, outcome))
    if not world.is_over:
        raise AssertionError("some changes have not ended")
    return [world.ended[change] - arrived[change] for change in world.landed]
