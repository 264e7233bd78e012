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
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any

from coord.times import SECOND
from coord.v1 import limiter_pb2

from coord_limiter.bucket import Amounts, Bucket, Gauge, Shortage
from coord_limiter.fair import FairClock
from coord_limiter.grants import Ask, HeldGrant, grant_id_reused
from coord_limiter.meter import GRAINS

# Those of one worker that want the same, more or less of it: they are served one after another.
_Flow = tuple[str, str, frozenset[str], frozenset[str], int]
_Key = tuple[int, float, int]
# Where more than the first wait, places and times are told as they were at most so long ago, and
# when no more than a tenth more or fewer waited.
_EXACT_MAX = 100
_PLACES_KEPT_NS = SECOND


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in line.

    Attributes:
        project: Whose grants it is one of.
        ask: What is asked for.
        number: Rises with every request that joins.
        joined_ns: When it joined.
        decided: The grant, once it is on disk.
        buckets: What it waits for.
        passing: Whether who asked does not wait: then it leaves with the answer.
        callers: How many calls wait for it. Without any it is passed over.
        left_ns: When the last of them went away.
        finish: The virtual time at which the ideal queue has served it, by bucket.
    """

    project: str
    ask: Ask
    number: int
    joined_ns: int
    decided: "asyncio.Future[HeldGrant]"
    buckets: list[Bucket]
    passing: bool = False
    callers: int = 0
    left_ns: int = 0
    finish: dict[Bucket, float] = field(default_factory=dict)

    @property
    def worker(self) -> tuple[str, str]:
        """Whose share it takes."""
        return self.project, self.ask.want.worker

    @property
    def flow(self) -> _Flow:
        """After whom it is served."""
        want = self.ask.want
        dimensions = frozenset(key for key, units in want.estimate.items() if units)
        return self.project, want.worker, want.buckets, dimensions, want.lane

    def gauges(self) -> Iterator[tuple[Gauge, int]]:
        """Yield what it takes from, and how much."""
        for bucket in self.buckets:
            for gauge in bucket.gauges.values():
                if units := self.ask.want.estimate[gauge.dimension]:
                    yield gauge, units


@dataclass(slots=True)
class _Turns:
    """The turns that one walk along the line has to keep.

    Attributes:
        now_ns: When it is made.
        first: By gauge, the first that waits for it: when it can be served, and with how much.
        soonest_ns: In what time the first of them can be served.
    """

    now_ns: int
    first: dict[Gauge, tuple[int, int]] = field(default_factory=dict)
    soonest_ns: int | None = None

    def may_pass(self, one: Waiting) -> bool:
        """Tell whether a request can be served without delaying anybody who is before it."""
        return all(self._leaves_enough(gauge, units) for gauge, units in one.gauges())

    def keep(self, one: Waiting) -> None:
        """Keep the turn of a request that cannot be served now."""
        wait_ns = ready_ns(one, {}, self.now_ns)
        for gauge, units in one.gauges():
            self.first.setdefault(gauge, (self.now_ns + wait_ns, units))
        if wait_ns:
            self.soonest_ns = min(wait_ns, self.soonest_ns or wait_ns)

    def _leaves_enough(self, gauge: Gauge, units: int) -> bool:
        if gauge not in self.first:
            return True
        at_ns, wanted = self.first[gauge]
        refill = gauge.meter.limit.per_minute * (at_ns - self.now_ns)
        return gauge.meter.level(self.now_ns) + refill >= (units + wanted) * GRAINS


class _Places:
    """Who was before whom at one moment: looked up for each, rather than counted anew.

    Args:
        keys: Of those for whom somebody waits; the least comes first.

    Attributes:
        keys: As given.
    """

    def __init__(self, keys: dict[Waiting, _Key]) -> None:
        self.keys = keys
        # Of those that wait for the same buckets, the keys in order.
        self._alike: dict[frozenset[Bucket], list[_Key]] = {}
        # The keys in order of those that take from a gauge; what is taken before each, and by all.
        self._takers: dict[Gauge, tuple[list[_Key], list[int]]] = {}
        for one, key in sorted(keys.items(), key=itemgetter(1)):
            self._alike.setdefault(frozenset(one.buckets), []).append(key)
            for gauge, units in one.gauges():
                takers, sums = self._takers.setdefault(gauge, ([], [0]))
                takers.append(key)
                sums.append(sums[-1] + units)

    def place(self, one: Waiting, key: _Key) -> int:
        """Return a request's place, from 1 on, among those that wait for any of its buckets."""
        return 1 + sum(
            bisect_left(keys, key)
            for buckets, keys in self._alike.items()
            if not buckets.isdisjoint(one.buckets)
        )

    def ahead(self, one: Waiting, key: _Key) -> dict[Gauge, int]:
        """Return how many units are taken before a request, by gauge."""
        found = {}
        for gauge, _ in one.gauges():
            keys, sums = self._takers.get(gauge, ([], [0]))
            found[gauge] = sums[bisect_left(keys, key)]
        return found


class Line:
    """All requests that wait, of all projects.

    Args:
        keep_ns: For how long a place is kept for who has gone away.
        age_ns: After how long a request moves up by a lane.

    Attributes:
        next_ns: In what time another walk may find somebody to serve; None for never. As of the
            last walk.
    """

    def __init__(self, keep_ns: int, age_ns: int) -> None:
        self.next_ns: int | None = None
        self._keep_ns = keep_ns
        self._age_ns = age_ns
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self._flows: dict[_Flow, deque[Waiting]] = {}
        self._clocks: dict[Bucket, FairClock[tuple[str, str]]] = {}
        self._joined = 0
        self._places = _Places({})
        # When they were looked up, and how many were in line.
        self._placed = (0, 0)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def find(self, project: str, grant_id: str) -> Waiting | None:
        """Return the request of an id, if it waits."""
        return self._waiting.get((project, grant_id))

    def check_ids(self, project: str, asks: Iterable[Ask]) -> None:
        """Refuse ids under which something else waits.

        Raises:
            CoordError: INVALID_ARGUMENT with reason GRANT_ID_REUSED.
        """
        for ask in asks:
            one = self.find(project, ask.grant_id)
            if one is not None and one.ask != ask:
                raise grant_id_reused(ask.grant_id)

    def waiting_of(self, project: str) -> int:
        """Return how many of a project's wait."""
        return sum(one.project == project for one in self._waiting.values())

    def waiting_for(self, bucket: Bucket) -> int:
        """Return how many wait for a bucket."""
        return sum(bucket in one.buckets for one in self._waiting.values())

    def join(self, project: str, ask: Ask, buckets: list[Bucket], now_ns: int) -> Waiting:
        """Put a request in line."""
        self._joined += 1
        decided: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        one = Waiting(project, ask, self._joined, now_ns, decided, buckets, left_ns=now_ns)
        for bucket in buckets:
            clock = self._clocks.setdefault(bucket, FairClock(now_ns))
            work, weight = _share(bucket, ask)
            one.finish[bucket] = clock.add(one.worker, work, weight, now_ns)
        self._waiting[project, ask.grant_id] = one
        self._flows.setdefault(one.flow, deque()).append(one)
        return one

    def leave(self, one: Waiting) -> None:
        """Take a request out that was not served: its worker's later ones need not wait for it."""
        for bucket in one.buckets:
            self._clocks[bucket].take_back(one.worker, _share(bucket, one.ask)[0])
        self._remove(one)

    def serve(self, now_ns: int) -> Iterator[Waiting]:
        """Walk along the line; yield each that can be served, to be charged at once."""
        turns, heads = _Turns(now_ns), self._heads(now_ns)
        while heads:
            _, one = heappop(heads)
            if turns.may_pass(one):
                if any(bucket.shortage(one.ask.want.estimate, now_ns) for bucket in one.buckets):
                    turns.keep(one)
                    continue
                flow = one.flow
                self._remove(one)
                yield one
                if head := self._head(flow, now_ns):
                    heappush(heads, (self._key(head, now_ns), head))
        self.next_ns = turns.soonest_ns

    def outlook(self, one: Waiting, now_ns: int) -> tuple[int, Shortage]:
        """Return a request's place, from 1 on, and why and how long it waits."""
        places = self._look(now_ns)
        key = places.keys.get(one) or self._key(one, now_ns)
        place, wait_ns = places.place(one, key), ready_ns(one, places.ahead(one, key), now_ns)
        for bucket in one.buckets:
            if shortage := bucket.shortage(one.ask.want.estimate, now_ns):
                return place, shortage.later(wait_ns)
        return place, Shortage(one.buckets[0].name, "", 0, 0, wait_ns, "BEHIND_OTHERS")

    def _remove(self, one: Waiting) -> None:
        del self._waiting[one.project, one.ask.grant_id]
        flow = self._flows[one.flow]
        flow.remove(one)
        if not flow:
            del self._flows[one.flow]
        if not self._waiting:
            self._clocks.clear()
            self._places, self._placed = _Places({}), (0, 0)

    def _heads(self, now_ns: int) -> list[tuple[_Key, Waiting]]:
        """Return those that are first among their worker's, as a heap."""
        for clock in self._clocks.values():
            clock.advance(now_ns)
        found = (self._head(flow, now_ns) for flow in list(self._flows))
        heads = [(self._key(one, now_ns), one) for one in found if one]
        heapify(heads)
        return heads

    def _head(self, flow: _Flow, now_ns: int) -> Waiting | None:
        """Return the first of a flow for whom somebody waits; drop those that were given up."""
        for one in list(self._flows.get(flow, ())):
            if one.callers:
                return one
            if now_ns - one.left_ns > self._keep_ns:
                self.leave(one)
        return None

    def _look(self, now_ns: int) -> _Places:
        """Return the places of those for whom somebody waits."""
        if not self._places_hold(now_ns):
            waiting = (one for one in self._waiting.values() if one.callers)
            self._places = _Places({one: self._key(one, now_ns) for one in waiting})
            self._placed = (now_ns, len(self))
        return self._places

    def _places_hold(self, now_ns: int) -> bool:
        then_ns, then = self._placed
        lately = now_ns - then_ns <= _PLACES_KEPT_NS
        return len(self) > _EXACT_MAX and lately and abs(len(self) - then) * 10 <= then

    def _key(self, one: Waiting, now_ns: int) -> _Key:
        lane = one.ask.want.lane - (now_ns - one.joined_ns) // self._age_ns
        # How far the ideal queue is from finishing it. Clocks of several buckets show different
        # times, but their distances can be compared.
        far = max((one.finish[b] - self._clocks[b].virtual for b in one.buckets), default=0.0)
        return max(lane, limiter_pb2.LANE_URGENT), far, one.number


def _share(bucket: Bucket, ask: Ask) -> tuple[float, float]:
    """Return how long the ideal queue takes for a request alone, and its worker's weight."""
    weight = bucket.weights.get(ask.want.worker, 1.0)
    return _cost_ns(bucket, ask.want.estimate) / weight, weight


def _cost_ns(bucket: Bucket, estimate: Amounts) -> float:
    """Return how long a bucket takes to refill an estimate."""
    costs = (
        estimate[gauge.dimension] * GRAINS / gauge.meter.limit.per_minute
        for gauge in bucket.gauges.values()
    )
    return max(costs, default=0.0)


def ready_ns(one: Waiting, ahead: dict[Gauge, int], now_ns: int) -> int:
    """Return in what time a request can be served, if so many units are taken before it."""
    waits = [bucket.pause_ns(now_ns) for bucket in one.buckets]
    for gauge, units in one.gauges():
        waits.append(gauge.meter.wait_ns(units + ahead.get(gauge, 0), now_ns))
    return max(waits, default=0)
