"""The line for what does not fit now: who is next, and who may pass without delaying anybody.

Workers share each bucket by weight, as an ideal fair queue would serve them: requests are served in
the order of the virtual times at which that queue would have finished them (Demers, Keshav and
Shenker, "Analysis and Simulation of a Fair Queueing Algorithm", 1989; Parekh and Gallager, "A
Generalized Processor Sharing Approach to Flow Control", 1993). What a request costs a bucket is the
time in which the bucket refills it, in the dimension where that takes longest.

The first that does not fit keeps its turn: later ones may take from its buckets only what will be
there again by the time at which it can be served (the backfilling of Lifka, "The ANL/IBM SP
Scheduling System", 1995). So neither starves a large request behind small ones, nor idles a bucket
behind a request that waits for another one.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from coord.v1 import limiter_pb2

from coord_limiter.bucket import Amounts, Bucket, Gauge, Shortage
from coord_limiter.fair import FairClock
from coord_limiter.grants import Ask, HeldGrant
from coord_limiter.meter import GRAINS


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in line.

    Attributes:
        project: Whose grants it is one of.
        ask: What is asked for.
        number: Rises with every request that joins.
        joined_ns: When it joined.
        decided: The grant, once it is on disk.
        passing: Whether who asked does not wait: then it leaves with the answer.
        callers: How many calls wait for it. Without any it is passed over.
        left_ns: When the last of them went away.
        shortage: Why it has not been served, and in what time it will be.
        place: Its place among those that wait for any of its buckets, from 1 on.
    """

    project: str
    ask: Ask
    number: int
    joined_ns: int
    decided: "asyncio.Future[HeldGrant]"
    passing: bool = False
    callers: int = 0
    left_ns: int = 0
    shortage: Shortage | None = None
    place: int = 1
    buckets: list[Bucket] = field(default_factory=list)
    finish: dict[Bucket, float] = field(default_factory=dict)

    @property
    def flow(self) -> tuple[str, str]:
        """Whose turn it takes."""
        return self.project, self.ask.worker

    def gauges(self) -> Iterator[tuple[Gauge, int]]:
        """Yield what it takes from."""
        for bucket in self.buckets:
            for gauge in bucket.gauges.values():
                if units := self.ask.estimate[gauge.dimension]:
                    yield gauge, units


@dataclass(slots=True)
class _Look:
    """What one walk along the line has seen so far.

    Attributes:
        now_ns: When it is made.
        ahead: Units, by gauge, of those that wait before.
        turns: By gauge, the first that waits for it: when it can be served, and with how much.
        places: How many wait before, by bucket.
    """

    now_ns: int
    ahead: dict[Gauge, int] = field(default_factory=dict)
    turns: dict[Gauge, tuple[int, int]] = field(default_factory=dict)
    places: dict[Bucket, int] = field(default_factory=dict)


class Line:
    """All requests that wait, of all projects.

    Args:
        keep_ns: For how long a place is kept for who has gone away.
        age_ns: After how long a request moves up by a lane.
    """

    def __init__(self, keep_ns: int, age_ns: int) -> None:
        self._keep_ns = keep_ns
        self._age_ns = age_ns
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self._clocks: dict[Bucket, FairClock[tuple[str, str]]] = {}
        self._joined = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def find(self, project: str, grant_id: str) -> Waiting | None:
        """Return the request of an id, if it waits."""
        return self._waiting.get((project, grant_id))

    def waiting_for(self, bucket: Bucket) -> int:
        """Return how many wait for a bucket."""
        return sum(bucket in one.buckets for one in self._waiting.values())

    def join(self, project: str, ask: Ask, buckets: list[Bucket], now_ns: int) -> Waiting:
        """Put a request in line."""
        self._joined += 1
        decided: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        one = Waiting(project, ask, self._joined, now_ns, decided, buckets=buckets)
        for bucket in buckets:
            clock = self._clocks.setdefault(bucket, FairClock(now_ns))
            cost, weight = cost_ns(bucket, ask.estimate), bucket.weights.get(ask.worker, 1.0)
            one.finish[bucket] = clock.add(one.flow, cost / weight, weight, now_ns)
        self._waiting[project, ask.grant_id] = one
        return one

    def leave(self, one: Waiting) -> None:
        """Take a request out that was not served: its worker's later ones need not wait for it."""
        self._remove(one)
        for bucket in one.buckets:
            if clock := self._clocks.get(bucket):
                weight = bucket.weights.get(one.ask.worker, 1.0)
                clock.take_back(one.flow, cost_ns(bucket, one.ask.estimate) / weight)

    def serve(self, now_ns: int) -> Iterator[Waiting]:
        """Walk along the line; yield each that can be served, to be charged at once."""
        look = _Look(now_ns)
        for one in self._in_order(now_ns):
            if not one.callers:
                if now_ns - one.left_ns > self._keep_ns:
                    self.leave(one)
                continue
            one.place = 1 + max((look.places.get(bucket, 0) for bucket in one.buckets), default=0)
            one.shortage = self._shortage(one, look)
            if one.shortage is None:
                self._remove(one)
                yield one
            else:
                _wait(one, look)

    def next_ns(self, now_ns: int) -> int | None:
        """Return in what time another walk may find somebody to serve; None for never."""
        waits = [_own_wait_ns(one, now_ns) for one in self._waiting.values() if one.callers]
        return min((wait for wait in waits if wait), default=None)

    def _remove(self, one: Waiting) -> None:
        self._waiting.pop((one.project, one.ask.grant_id), None)
        if not self._waiting:
            self._clocks.clear()

    def _in_order(self, now_ns: int) -> list[Waiting]:
        for clock in self._clocks.values():
            clock.advance(now_ns)
        return sorted(self._waiting.values(), key=lambda one: self._key(one, now_ns))

    def _key(self, one: Waiting, now_ns: int) -> tuple[int, float, int]:
        lane = one.ask.lane - (now_ns - one.joined_ns) // self._age_ns
        # How far the ideal queue is from finishing it. Clocks of several buckets show different
        # times, but their distances can be compared.
        far = max((one.finish[b] - self._clocks[b].virtual for b in one.buckets), default=0.0)
        return max(lane, limiter_pb2.LANE_URGENT), far, one.number

    def _shortage(self, one: Waiting, look: _Look) -> Shortage | None:
        """Return why a request cannot be served now, with the time until it will be."""
        for bucket in one.buckets:
            if shortage := bucket.shortage(one.ask.estimate, look.now_ns):
                return shortage.later(_ready_ns(one, look))
        for gauge, units in one.gauges():
            if gauge in look.turns and not _may_pass(gauge, units, look):
                level = gauge.meter.level(look.now_ns) // GRAINS
                return Shortage(
                    gauge.bucket,
                    gauge.dimension,
                    units,
                    level,
                    _ready_ns(one, look),
                    "BEHIND_OTHERS",
                )
        return None


def cost_ns(bucket: Bucket, estimate: Amounts) -> float:
    """Return how long a bucket takes to refill an estimate."""
    costs = (
        estimate[gauge.dimension] * GRAINS / gauge.meter.limit.per_minute
        for gauge in bucket.gauges.values()
    )
    return max(costs, default=0.0)


def _wait(one: Waiting, look: _Look) -> None:
    """Keep the turn of a request that cannot be served now."""
    at_ns = look.now_ns + _ready_ns(one, look)
    for gauge, units in one.gauges():
        look.turns.setdefault(gauge, (at_ns, units))
        look.ahead[gauge] = look.ahead.get(gauge, 0) + units
    for bucket in one.buckets:
        look.places[bucket] = look.places.get(bucket, 0) + 1


def _ready_ns(one: Waiting, look: _Look) -> int:
    """Return in what time a request can be served, after those before it."""
    waits = [bucket.pause_ns(look.now_ns) for bucket in one.buckets]
    for gauge, units in one.gauges():
        waits.append(gauge.meter.wait_ns(units + look.ahead.get(gauge, 0), look.now_ns))
    return max(waits, default=0)


def _own_wait_ns(one: Waiting, now_ns: int) -> int:
    """Return in what time a request could be served if it were the first."""
    return _ready_ns(one, _Look(now_ns))


def _may_pass(gauge: Gauge, units: int, look: _Look) -> bool:
    """Tell whether units can be taken without delaying the first that waits for a gauge."""
    at_ns, wanted = look.turns[gauge]
    refill = gauge.meter.limit.per_minute * (at_ns - look.now_ns)
    return gauge.meter.level(look.now_ns) + refill >= (units + wanted) * GRAINS
