"""What the limiter counts."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from coord_limiter.admission import Changes
from coord_limiter.bucket import Shortage
from coord_limiter.grants import HeldGrant


class LimiterMetrics:
    """The limiter's Prometheus metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open_grants = Gauge(
            "coord_limiter_remembered_grants", "Grants in memory.", registry=registry
        )
        self._granted = Counter(
            "coord_limiter_granted", "Units granted.", ("dimension",), registry=registry
        )
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

    def count(self, changes: Changes, outcomes: Iterable[HeldGrant | Shortage]) -> None:
        """Count what was decided."""
        for held in changes.granted:
            self._grants.inc()
            for dimension, units in held.ask.estimate.items():
                self._granted.labels(dimension).inc(units)
        for outcome in outcomes:
            if isinstance(outcome, Shortage):
                waits = outcome.retry_after_ns is not None
                counter = self._waits if waits else self._refusals
                counter.labels(outcome.bucket, outcome.dimension).inc()
