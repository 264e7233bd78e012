"""Capacity that is written down before it is given, so that a grant needs no commit of its own.

A record on disk says: at its time a meter's level was `level`, and from then until `VALID_NS` later
up to `ahead` more may be charged. Whoever starts after a crash counts all of that as charged at the
last moment. The true level is never below: for a window that began before the record, the charges
since are at most `ahead`; for one that began after it, `burst` less `ahead` is what it has left at
the least.

While the service is down a meter refills, but only for as long as a clock vouches for: the wall
clock, and, where it has not been reset since, the monotonic clock too. A wall clock that was set
back gives nothing.
"""

from dataclasses import dataclass

from coord_limiter.meter import GRAINS, Limit

VALID_NS = 10**9
# Of the burst, what is written ahead at the least: so much can be lost by a crash.
_SHARE = 10


@dataclass(frozen=True, slots=True)
class Clocks:
    """One moment, by both clocks, in nanoseconds."""

    wall_ns: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Record:
    """What the disk knows of a meter.

    Attributes:
        limit: The limit by which it filled.
        level: Its level at `at`, in grains.
        ahead: What may be charged from `at` on, within `VALID_NS`, in grains.
        at: When it was written.
    """

    limit: Limit
    level: int
    ahead: int
    at: Clocks

    def covers(self, used: int, now_ns: int) -> bool:
        """Return whether `used` grains since the record may be charged without another one."""
        return used <= self.ahead and now_ns <= self.at.monotonic_ns + VALID_NS


def ahead(limit: Limit, level: int) -> int:
    """Return how much to write ahead, in grains: what a second may bring, or a share of the burst.

    No more than could be given at all while the record is valid.
    """
    wanted = max(limit.per_minute * VALID_NS, limit.burst * GRAINS // _SHARE)
    return max(0, min(wanted, level + limit.per_minute * VALID_NS))


def restored(record: Record, limit: Limit, now: Clocks) -> int:
    """Return the level, in grains, with which a meter of `limit` goes on after a stop or crash."""
    rate = min(record.limit.per_minute, limit.per_minute)
    full = min(record.limit.burst, limit.burst) * GRAINS
    passed_ns = _vouched_ns(record.at, now)
    valid_ns = min(passed_ns, VALID_NS) if record.ahead else 0
    level = min(full, record.level + rate * valid_ns) - record.ahead
    return min(full, level + rate * (passed_ns - valid_ns))


def _vouched_ns(then: Clocks, now: Clocks) -> int:
    wall_ns = max(0, now.wall_ns - then.wall_ns)
    monotonic_ns = now.monotonic_ns - then.monotonic_ns
    return min(wall_ns, monotonic_ns) if monotonic_ns >= 0 else wall_ns
