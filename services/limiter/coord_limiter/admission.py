"""What a project's buckets let pass: all dimensions of all named buckets, or nothing.

Decides in memory and at once. What must be on disk before an answer leaves is noted in `Changes`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from coord.errors import invalid_argument

from coord_limiter.ahead import Clocks, Record
from coord_limiter.bucket import DIMENSIONS, Amounts, Bucket, Gauge, Shortage, worst
from coord_limiter.grants import Ask, GrantBook, HeldGrant, State
from coord_limiter.meter import Limit
from coord_limiter.store import Place, StoredBucket

NOTHING: Amounts = dict.fromkeys(DIMENSIONS, 0)


@dataclass
class Changes:
    """What a call changed, and what must be on disk before it is answered.

    Attributes:
        granted: Grants that were given just now.
        touched: Gauges whose newest record must be on disk.
        uncovered: Those of them that need a new one.
        exhausted: For each bucket that has begun to refuse: for whom, and what was lacking.
    """

    granted: list[HeldGrant] = field(default_factory=list)
    touched: dict[tuple[str, str], Gauge] = field(default_factory=dict)
    uncovered: dict[tuple[str, str], Gauge] = field(default_factory=dict)
    exhausted: list[tuple[str, Shortage]] = field(default_factory=list)

    def charge(self, gauge: Gauge, units: int, now_ns: int) -> None:
        """Count a charge against what is written ahead."""
        if units > 0 and not gauge.retired:
            self._touch(gauge, covered=gauge.spend(units, now_ns))

    def repeat(self, held: HeldGrant) -> None:
        """Note that what a grant was charged must be on disk."""
        for gauge in held.charged:
            if not gauge.retired:
                self._touch(gauge, covered=gauge.record is not None)

    def _touch(self, gauge: Gauge, *, covered: bool) -> None:
        key = (gauge.bucket, gauge.dimension)
        self.touched[key] = gauge
        if not covered:
            self.uncovered[key] = gauge


class Admission:
    """A project's buckets and grants."""

    def __init__(self, ttl_ns: int) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.grants = GrantBook()
        self._ttl_ns = ttl_ns
        self._serial = 0

    def acquire(self, ask: Ask, now: Clocks, changes: Changes) -> HeldGrant | Shortage:
        """Decide one request."""
        self.grants.expire(now.monotonic_ns)
        named = [self.buckets[name] for name in ask.buckets if name in self.buckets]
        held = self.grants.get(ask.grant_id)
        if held is not None:
            changes.repeat(held)
            return held
        for bucket in named:
            bucket.forgive(now.monotonic_ns)
        found = (bucket.shortage(ask.estimate, now.monotonic_ns) for bucket in named)
        shortage = worst(each for each in found if each is not None)
        if shortage is None:
            return self._grant(ask, named, now, changes)
        self._refuse(ask, shortage, changes)
        return shortage

    def configure(self, stored: StoredBucket, now: Clocks) -> None:
        """Bring a bucket to its limits on disk; what is not in memory starts from its record."""
        bucket = self.buckets.setdefault(stored.name, Bucket(stored.name))
        bucket.configure(stored.limits, stored.records, now)

    def check_ids(self, asks: Iterable[Ask], now_ns: int) -> None:
        """Refuse ids that were used for something else.

        Raises:
            CoordError: INVALID_ARGUMENT with reason GRANT_ID_REUSED.
        """
        self.grants.expire(now_ns)
        new: dict[str, Ask] = {}
        for ask in asks:
            held = self.grants.get(ask.grant_id)
            if ask != (held.ask if held else new.setdefault(ask.grant_id, ask)):
                raise invalid_argument(
                    "GRANT_ID_REUSED",
                    f"grant_id {ask.grant_id} was used for another request: choose a new one",
                    grant_id=ask.grant_id,
                )

    def final_records(self, now: Clocks) -> dict[Place, Record]:
        """Return records of all buckets, of a limiter that gives no more."""
        return {
            (bucket.name, dimension): gauge.final_record(now)
            for bucket in self.buckets.values()
            for dimension, gauge in bucket.gauges.items()
        }

    def preview(self, name: str, limits: Mapping[str, Limit], now_ns: int) -> dict[str, int]:
        """Return what will be available in a bucket once it has these limits."""
        if name in self.buckets:
            return self.buckets[name].preview(limits, now_ns)
        return {dimension: limit.burst for dimension, limit in limits.items()}

    def settle(
        self, grant_id: str, worker: str | None, actual: Amounts, now_ns: int, changes: Changes
    ) -> str | None:
        """Correct a grant to what was used; return the reason why not, if not.

        Args:
            grant_id: The grant.
            worker: Whose it must be; None for anybody's.
            actual: What was used.
            now_ns: The monotonic clock.
            changes: Takes what goes beyond the estimate.
        """
        held, reason = self._find(grant_id, worker, (State.SETTLED, actual), now_ns)
        if held is not None and held.state is State.OPEN:
            for gauge in held.charged:
                changes.charge(gauge, held.excess(gauge.dimension, actual), now_ns)
            held.end(State.SETTLED, actual)
        elif held is not None:
            changes.repeat(held)
        return reason

    def release(self, grant_id: str, worker: str | None, now_ns: int) -> str | None:
        """Give a grant back; return the reason why not, if not. See `settle`."""
        held, reason = self._find(grant_id, worker, (State.RELEASED, NOTHING), now_ns)
        if held is not None and held.state is State.OPEN:
            held.end(State.RELEASED, NOTHING)
        return reason

    def undo(self, changes: Changes) -> None:
        """Take back what could not be brought to disk."""
        for gauge in changes.touched.values():
            gauge.record = None
        for held in changes.granted:
            if held.state is State.OPEN:
                held.end(State.RELEASED, NOTHING)
            self.grants.drop(held)

    def _find(
        self, grant_id: str, worker: str | None, end: tuple[State, Amounts], now_ns: int
    ) -> tuple[HeldGrant | None, str | None]:
        """Return the grant, open or ended just so; otherwise why it cannot end so."""
        self.grants.expire(now_ns)
        held = self.grants.get(grant_id)
        if held is None or worker not in (None, held.ask.worker):
            return None, "GRANT_NOT_FOUND"
        if held.state is State.OPEN or (held.state, held.actual) == end:
            return held, None
        return None, "GRANT_ENDED"

    def _grant(self, ask: Ask, named: list[Bucket], now: Clocks, changes: Changes) -> HeldGrant:
        self._serial += 1
        expires_ns = now.monotonic_ns + self._ttl_ns
        held = HeldGrant(ask, self._serial, now.wall_ns, expires_ns)
        for gauge in (gauge for bucket in named for gauge in bucket.gauges.values()):
            units = ask.estimate[gauge.dimension]
            gauge.meter.charge(self._serial, units, now.monotonic_ns)
            changes.charge(gauge, units, now.monotonic_ns)
            held.charged.append(gauge)
        self.grants.add(held)
        changes.granted.append(held)
        return held

    def _refuse(self, ask: Ask, shortage: Shortage, changes: Changes) -> None:
        bucket = self.buckets[shortage.bucket]
        if shortage.retry_after_ns is not None and bucket.refused is None:
            bucket.refused = shortage
            changes.exhausted.append((ask.worker, shortage))
