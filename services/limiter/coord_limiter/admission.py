"""What a project's buckets let pass: all dimensions of all named buckets, or nothing.

Decides in memory and at once. What must be on disk before an answer leaves is noted in `Changes`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter

from coord_limiter.ahead import Clocks
from coord_limiter.bucket import Amounts, Bucket, Gauge, Shortage, worst
from coord_limiter.grants import Ask, GrantBook, HeldGrant, State, Want, grant_id_reused
from coord_limiter.meter import GRAINS, Limit
from coord_limiter.provider import PAUSE_NS_MAX, Observed
from coord_limiter.sharing import Buckets
from coord_limiter.store import StoredBucket


@dataclass
class Changes:
    """What a call changed, and what must be on disk before it is answered.

    Attributes:
        granted: Grants that were given just now.
        units: How much that was, by dimension.
        touched: Gauges whose newest record must be on disk.
        uncovered: Those of them that need a new one.
        exhausted: For each bucket that has begun to refuse: for whom, and what was lacking.
        paused: For each bucket that has to wait: until when, by the wall clock.
        worker: Who has reported that.
    """

    granted: list[HeldGrant] = field(default_factory=list)
    units: Amounts = field(default_factory=dict)
    touched: dict[tuple[str, str], Gauge] = field(default_factory=dict)
    uncovered: dict[tuple[str, str], Gauge] = field(default_factory=dict)
    exhausted: list[tuple[str, Shortage]] = field(default_factory=list)
    paused: dict[str, int] = field(default_factory=dict)
    worker: str = ""

    def note(self, granted: list[HeldGrant], estimate: Amounts) -> None:
        """Note grants with one estimate."""
        self.granted += granted
        for dimension, units in estimate.items():
            if units:
                self.units[dimension] = self.units.get(dimension, 0) + units * len(granted)

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
    """A project's buckets and grants.

    Args:
        ttl_ns: How long grants are remembered.
        buckets: The project's buckets by name, and those that it shares with others.
        serials: Numbers the charges, those of all projects.
    """

    def __init__(self, ttl_ns: int, buckets: Buckets, serials: Iterator[int]) -> None:
        self.buckets = buckets
        self.grants = GrantBook()
        self._ttl_ns = ttl_ns
        self._serials = serials

    def known(self, ask: Ask, now_ns: int, changes: Changes) -> HeldGrant | None:
        """Return the grant that a repeated request has had."""
        self.grants.expire(now_ns)
        held = self.grants.get(ask.grant_id)
        if held is not None:
            changes.repeat(held)
        return held

    def missing(self, want: Want) -> Shortage | None:
        """Return that a bucket is not there which must be; None where all of them are."""
        for name in sorted(want.required):
            if name not in self.buckets:
                return Shortage(name, "", 0, 0, None, "BUCKET_NOT_FOUND")
        return None

    def shortage(self, want: Want, named: Iterable[Bucket], now_ns: int) -> Shortage | None:
        """Return the worst reason why a request does not fit, if it does not."""
        found = []
        for bucket in named:
            bucket.forgive(now_ns)
            if shortage := bucket.shortage(want.estimate, now_ns):
                found.append(shortage)
        return worst(found) if found else None

    def grant_first(self, asks: Iterable[Ask], now: Clocks, changes: Changes) -> list[HeldGrant]:
        """Grant requests whose ids are new, from the first on, up to one that does not fit."""
        granted: list[HeldGrant] = []
        for want, run in groupby(asks, attrgetter("want")):
            alike, named = list(run), self.buckets.named(want.buckets)
            fits = 0 if self.missing(want) else len(alike)
            for bucket in named:
                bucket.forgive(now.monotonic_ns)
                fits = bucket.fitting(want.estimate, now.monotonic_ns, fits)
            if fits:
                granted += self.grant(alike[:fits], named, now, changes)
            if fits < len(alike):
                break
        return granted

    def grant(
        self, asks: Sequence[Ask], named: Iterable[Bucket], now: Clocks, changes: Changes
    ) -> list[HeldGrant]:
        """Take what is asked for, which fits, and is the same for all."""
        estimate, now_ns = asks[0].want.estimate, now.monotonic_ns
        serials, expires_ns = list(islice(self._serials, len(asks))), now_ns + self._ttl_ns
        charged = [gauge for bucket in named for gauge in bucket.gauges.values()]
        for gauge in charged:
            units = estimate[gauge.dimension]
            gauge.meter.charge(serials, units, now_ns)
            changes.charge(gauge, units * len(asks), now_ns)
        granted = [
            HeldGrant(ask, serial, now.wall_ns, expires_ns, charged)
            for ask, serial in zip(asks, serials, strict=True)
        ]
        for held in granted:
            self.grants.add(held)
        changes.note(granted, estimate)
        return granted

    def refuse(self, want: Want, shortage: Shortage, changes: Changes) -> None:
        """Note that a bucket has begun to refuse."""
        bucket = self.buckets[shortage.bucket]
        if shortage.retry_after_ns is not None and bucket.refused is None:
            bucket.refused = shortage
            changes.exhausted.append((want.worker, shortage))

    def configure(self, stored: StoredBucket, now: Clocks) -> None:
        """Bring a bucket to its limits on disk; what is not in memory starts from its record."""
        bucket = self.buckets.setdefault(stored.name, Bucket(stored.name))
        bucket.configure(stored.limits, stored.records, stored.rules, now)
        paused_ns = min(stored.paused_until_ns - now.wall_ns, PAUSE_NS_MAX)
        if stored.paused_until_ns:
            bucket.paused_until_ns = max(bucket.paused_until_ns, now.monotonic_ns + paused_ns)

    def remove(self, name: str) -> None:
        """Forget a bucket. Who waits for it waits for nothing there any more."""
        bucket = self.buckets.pop(name, None)
        if bucket is not None:
            bucket.retire()

    def shrink(self, name: str, observed: Observed, now: Clocks, changes: Changes) -> None:
        """Bring a bucket down to what its provider has left, and pause it if it is to wait."""
        bucket = self.buckets.setdefault(name, Bucket(name))
        for dimension, remaining in observed.remaining.items():
            gauge = bucket.gauges.get(dimension)
            if gauge is None:
                continue
            above = gauge.meter.level(now.monotonic_ns) - remaining * GRAINS
            if above > 0:
                units, serial = -(-above // GRAINS), next(self._serials)
                gauge.meter.charge([serial], units, now.monotonic_ns)
                gauge.meter.close(serial)
                changes.charge(gauge, units, now.monotonic_ns)
        until_ns = now.monotonic_ns + observed.pause_ns
        if observed.pause_ns and until_ns > bucket.paused_until_ns:
            bucket.paused_until_ns = until_ns
            changes.paused[name] = now.wall_ns + observed.pause_ns

    def check_ids(self, asks: Sequence[Ask], now_ns: int) -> bool:
        """Refuse ids that were used for something else; return whether several are all new.

        Raises:
            CoordError: INVALID_ARGUMENT with reason GRANT_ID_REUSED.
        """
        self.grants.expire(now_ns)
        if len(asks) > 1 and self.grants.all_new([ask.grant_id for ask in asks]):
            return True
        new: dict[str, Ask] = {}
        for ask in asks:
            held = self.grants.get(ask.grant_id)
            if ask != (held.ask if held else new.setdefault(ask.grant_id, ask)):
                raise grant_id_reused(ask.grant_id)
        return False

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
                changes.charge(gauge, held.excess(gauge, actual), now_ns)
            held.settle(actual)
        elif held is not None:
            changes.repeat(held)
        return reason

    def release(self, grant_id: str, worker: str | None, now_ns: int) -> str | None:
        """Give a grant back; return the reason why not, if not. See `settle`."""
        held, reason = self._find(grant_id, worker, (State.RELEASED, None), now_ns)
        if held is not None and held.state is State.OPEN:
            held.release()
        return reason

    def extend(self, grant_id: str, worker: str | None, now_ns: int) -> str | None:
        """Let a grant live for another full time; return the reason why not, if not."""
        held, reason = self._find(grant_id, worker, (State.OPEN, None), now_ns)
        if held is not None:
            self.grants.extend(held, now_ns + self._ttl_ns)
        return reason

    def undo(self, changes: Changes) -> None:
        """Take back what could not be brought to disk."""
        for gauge in changes.touched.values():
            gauge.record = None
        for held in changes.granted:
            if held.state is State.OPEN:
                held.release()
            self.grants.drop(held)

    def _find(
        self, grant_id: str, worker: str | None, end: tuple[State, Amounts | None], now_ns: int
    ) -> tuple[HeldGrant | None, str | None]:
        """Return the grant, open or ended just so; otherwise why it cannot end so."""
        self.grants.expire(now_ns)
        held = self.grants.get(grant_id)
        if held is None or worker not in (None, held.ask.want.worker):
            return None, "GRANT_NOT_FOUND"
        if held.state is State.OPEN or (held.state, held.actual) == end:
            return held, None
        return None, "GRANT_ENDED"
