"""Buckets: a meter for each limited dimension, and what the disk knows of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from coord_limiter.ahead import Clocks, Record, ahead, restored
from coord_limiter.meter import GRAINS, Limit, Meter

DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")
_WITH_OUTPUT = ("tokens", "output_tokens")
# Units by dimension; all four are there.
Amounts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Shortage:
    """Where a request does not fit.

    Attributes:
        bucket: The bucket's name.
        dimension: Its dimension.
        requested: Units asked for.
        available: Units that could be taken: now, or ever where it is a refusal.
        retry_after_ns: How long until it would fit; None where it never will.
        code: What kind of shortage it is.
    """

    bucket: str
    dimension: str
    requested: int
    available: int
    retry_after_ns: int | None
    code: str = "RATE_LIMITED"

    def later(self, retry_after_ns: int) -> Self:
        """Return the same with another time, unless it is for ever."""
        if self.retry_after_ns is None:
            return self
        return replace(self, retry_after_ns=retry_after_ns)


def worst(shortages: Iterable[Shortage]) -> Shortage | None:
    """Return the one that lasts longest, if there is any."""
    return max(shortages, key=_lasts, default=None)


def _lasts(shortage: Shortage) -> tuple[bool, int]:
    return shortage.retry_after_ns is None, shortage.retry_after_ns or 0


@dataclass(slots=True, eq=False)
class Gauge:
    """One limited dimension of a bucket.

    Attributes:
        bucket: The bucket's name.
        dimension: The dimension.
        meter: What is in it.
        record: The newest record, on disk or under way to it; None where one must be written.
        used: What was charged since that record, in grains.
        retired: Whether the bucket is no longer limited in the dimension.
        declared: Whether output counts as declared: what was not produced is not given back.
    """

    bucket: str
    dimension: str
    meter: Meter
    record: Record | None = None
    used: int = 0
    retired: bool = False
    declared: bool = False

    def counted(self, estimate: Amounts, actual: Amounts) -> int:
        """Return the units that count of a call."""
        units = actual[self.dimension]
        if self.declared and self.dimension in _WITH_OUTPUT:
            units += max(0, estimate["output_tokens"] - actual["output_tokens"])
        return units

    def spend(self, units: int, now_ns: int) -> bool:
        """Count a charge; return whether the record covers it."""
        self.used += units * GRAINS
        return self.record is not None and self.record.covers(self.used, now_ns)

    def final_record(self, now: Clocks) -> Record:
        """Return a record of the meter as it is, for one that gives no more."""
        return Record(self.meter.limit, self.meter.level(now.monotonic_ns), 0, now)

    def write_ahead(self, now: Clocks) -> Record:
        """Return a new record of the meter as it is, with room for what comes."""
        level, limit = self.meter.level(now.monotonic_ns), self.meter.limit
        self.record = Record(limit, level, ahead(limit, level), now)
        self.used = 0
        return self.record

    def shortage(self, units: int, now_ns: int) -> Shortage | None:
        """Return why `units` do not fit, if they do not. Nothing always fits."""
        level, burst = self.meter.level(now_ns), self.meter.limit.burst
        if units == 0 or level >= units * GRAINS:
            return None
        if units > burst:
            return Shortage(self.bucket, self.dimension, units, burst, None)
        wait_ns = self.meter.wait_ns(units, now_ns)
        return Shortage(self.bucket, self.dimension, units, level // GRAINS, wait_ns)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a bucket beside its limits.

    Attributes:
        declared: Whether output counts as declared, rather than as produced.
        weights: The shares of workers while they wait, by name.
    """

    declared: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)


class Bucket:
    """A bucket at work.

    Attributes:
        name: Unique in the project.
        gauges: By dimension, those that are limited.
        refused: What was told as exhaustion, until there was room for it.
        rules: What holds beside its limits.
        paused_until_ns: Until when nothing is granted, by the monotonic clock.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.gauges: dict[str, Gauge] = {}
        self.refused: Shortage | None = None
        self.rules = Rules()
        self.paused_until_ns = 0

    @property
    def weights(self) -> Mapping[str, float]:
        """The shares of workers while they wait; of those that are not there, 1."""
        return self.rules.weights

    def pause_ns(self, now_ns: int) -> int:
        """Return for how long nothing is granted."""
        return max(0, self.paused_until_ns - now_ns)

    def available(self, now_ns: int) -> dict[str, int]:
        """Return units that could be taken now, in the limited dimensions."""
        return {key: gauge.meter.level(now_ns) // GRAINS for key, gauge in self.gauges.items()}

    def configure(
        self,
        limits: Mapping[str, Limit],
        records: Mapping[str, Record],
        rules: "Rules",
        now: Clocks,
    ) -> None:
        """Bring the bucket to new limits; a dimension that is new here starts from its record."""
        self.rules = rules
        for dimension in self.gauges.keys() - limits.keys():
            self.gauges.pop(dimension).retired = True
        for dimension, limit in limits.items():
            gauge = self.gauges.get(dimension)
            if gauge is None:
                level = restored(records[dimension], limit, now)
                meter = Meter(limit, level, now.monotonic_ns)
                self.gauges[dimension] = Gauge(self.name, dimension, meter)
            elif gauge.meter.limit != limit:
                gauge.meter.relimit(limit, now.monotonic_ns)
        for gauge in self.gauges.values():
            gauge.declared = rules.declared

    def retire(self) -> None:
        """Limit nothing any more."""
        for gauge in self.gauges.values():
            gauge.retired = True
        self.gauges.clear()
        self.paused_until_ns = 0

    def preview(self, limits: Mapping[str, Limit], now_ns: int) -> dict[str, int]:
        """Return what will be available under new limits: never more than before."""
        now = self.available(now_ns)
        return {key: min(now.get(key, 0), limit.burst) for key, limit in limits.items()}

    def shortage(self, estimate: Amounts, now_ns: int) -> Shortage | None:
        """Return the worst reason why an estimate does not fit, if it does not."""
        found = []
        for dimension, gauge in self.gauges.items():
            if shortage := gauge.shortage(estimate[dimension], now_ns):
                found.append(shortage)
        if self.paused_until_ns > now_ns:
            pause_ns = self.pause_ns(now_ns)
            found.append(Shortage(self.name, "", 0, 0, pause_ns, "BUCKET_PAUSED"))
        return worst(found) if found else None

    def fitting(self, estimate: Amounts, now_ns: int, most: int) -> int:
        """Return how many times an estimate fits now, at most `most` times."""
        if self.paused_until_ns > now_ns:
            return 0
        for dimension, gauge in self.gauges.items():
            if units := estimate[dimension]:
                most = min(most, max(0, gauge.meter.level(now_ns)) // (units * GRAINS))
        return most

    def forgive(self, now_ns: int) -> None:
        """Forget the refusal that was told, if there is room for it by now."""
        if self.refused is None:
            return
        gauge = self.gauges.get(self.refused.dimension)
        if self.pause_ns(now_ns):
            return
        if gauge is None or gauge.shortage(self.refused.requested, now_ns) is None:
            self.refused = None
