"""What the limiter counts."""

from coord.times import SECOND
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from coord_limiter.admission import Changes
from coord_limiter.bucket import DIMENSIONS, Shortage


class LimiterMetrics:
    """The limiter's Prometheus metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge("coord_limiter_waiting", "Requests in line.", registry=registry)
        self._wait = Histogram(
            "coord_limiter_wait_seconds",
            "How long those waited in line that were granted.",
            buckets=(0.01, 0.1, 1, 10, 60, 600),
            registry=registry,
        )
        granted = Counter(
            "coord_limiter_granted", "Units granted.", ("dimension",), registry=registry
        )
        self._granted = {dimension: granted.labels(dimension) for dimension in DIMENSIONS}
        self._grants = Counter("coord_limiter_grants", "Grants given.", registry=registry)
        self._waits = Counter(
            "coord_limiter_waits",
            "Requests told to wait.",
            ("bucket", "dimension"),
            registry=registry,
        )
        self._refusals = Counter(
            "coord_limiter_refusals",
            "Requests larger than a bucket.",
            ("bucket", "dimension"),
            registry=registry,
        )

    def waited(self, ns: int) -> None:
        """Count a request that was granted after a time in line."""
        self._wait.observe(ns / SECOND)

    def count(self, changes: Changes) -> None:
        """Count what was granted."""
        self._grants.inc(len(changes.granted))
        for dimension, units in changes.units.items():
            self._granted[dimension].inc(units)

    def count_shortage(self, shortage: Shortage) -> None:
        """Count a request that does not fit now, or never will."""
        counter = self._refusals if shortage.retry_after_ns is None else self._waits
        counter.labels(shortage.bucket, shortage.dimension).inc()
