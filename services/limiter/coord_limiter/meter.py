"""Token buckets that keep their bound when the past is corrected.

A meter limits one dimension: it fills at a steady rate up to its burst, and a charge takes from it.
Its level at time t is the least of `burst` and, for each charge i so far,

    burst + rate * (t - t_i) - (the charges from i on)

which is what the window that begins with charge i still has room for. Charging no more than the
level is thus the same as keeping every window at or below burst + rate * length. A correction dated
at charge k changes the windows that begin at or before k, and no others: what a call did not use is
given back only as far as no window since then would be passed, and what it used on top is forgotten
where the meter has overflowed since.

All windows rise together and fall together, so they are kept relative to one moving sum. Only
those between charges that can still be corrected need telling apart; of each such stretch the least
counts.

Everything is an integer. A level is counted in grains, of which a unit (a call, a token) has as
many as a minute has nanoseconds: a rate of r units a minute is then exactly r grains a nanosecond.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

GRAINS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in one dimension.

    Attributes:
        per_minute: Refill in units a minute, which is also in grains a nanosecond.
        burst: The most that can be taken at once, in units.
    """

    per_minute: int
    burst: int


class Meter:
    """One limited dimension of a bucket.

    Times are monotonic nanoseconds, and never go back. Serials number the charges; they rise.
    """

    __slots__ = ("_floors", "_least", "_moved_at", "_serials", "_sum", "limit")

    def __init__(self, limit: Limit, level: int, now_ns: int) -> None:
        self.limit = limit
        self._sum = level
        self._moved_at = now_ns
        # _floors[i] is the least window that begins after charge _serials[i - 1] and not after
        # _serials[i], less _sum; the last is of the windows that began after all of them.
        self._serials: list[int] = []
        self._floors: list[int] = [0]
        self._least = 0

    def level(self, now_ns: int) -> int:
        """Return what could be taken now, in grains; negative while in debt."""
        self._move(now_ns)
        return min(self.limit.burst * GRAINS, self._sum + self._least)

    def charge(self, serials: Sequence[int], units: int, now_ns: int) -> None:
        """Take units for each serial, whether there is room or not.

        They can be corrected until `close`.
        """
        self._move(now_ns)
        self._begin_window()
        grains, full = units * GRAINS, self.limit.burst * GRAINS - self._sum
        self._sum -= len(serials) * grains
        self._serials += serials
        if len(serials) > 1:
            self._floors += [full + i * grains for i in range(1, len(serials))]
        self._floors.append(_NEVER)

    def close(self, serial: int, correction: int = 0) -> None:
        """Add units to an open charge, or give back where negative; it then stands for good."""
        index = bisect_left(self._serials, serial)
        if index == len(self._serials) or self._serials[index] != serial:
            return
        if correction:
            self._correct(index, correction * GRAINS)
        self._floors[index + 1] = min(self._floors[index], self._floors[index + 1])
        del self._serials[index], self._floors[index]

    def relimit(self, limit: Limit, now_ns: int) -> None:
        """Change the limit. What is in the meter does not grow by it."""
        self._move(now_ns)
        self._begin_window()
        self.limit = limit

    def wait_ns(self, units: int, now_ns: int) -> int:
        """Return how long until `units`, at most the burst, could be taken if nobody else asked."""
        missing = units * GRAINS - self.level(now_ns)
        return max(0, -(-missing // self.limit.per_minute))

    def _move(self, now_ns: int) -> None:
        if now_ns > self._moved_at:
            self._sum += self.limit.per_minute * (now_ns - self._moved_at)
            self._moved_at = now_ns

    def _begin_window(self) -> None:
        full = self.limit.burst * GRAINS - self._sum
        self._floors[-1] = min(self._floors[-1], full)
        self._least = min(self._least, full)

    def _correct(self, index: int, grains: int) -> None:
        # Lowering the windows up to the charge is the same as lowering all and raising the later
        # ones; the fewer are touched.
        later = len(self._floors) - index - 1
        if later <= index:
            self._sum -= grains
            for i in range(index + 1, len(self._floors)):
                self._floors[i] += grains
        else:
            for i in range(index + 1):
                self._floors[i] -= grains
        self._least = min(self._floors)


# Above every window that could ever begin: a stretch in which none does. Burst and charges are at
# most 10**12 units each, so that no history brings a sum near to it.
_NEVER = 10**40
