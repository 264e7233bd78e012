"""What the ledger counts. Amounts are in units of their currency, since the process began."""

from collections.abc import Iterable

from coord.v1 import ledger_pb2
from prometheus_client import CollectorRegistry, Counter, Gauge

_NANOS = 1e9


class LedgerMetrics:
    """The ledger's Prometheus metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Corrections may be negative, so that this is no counter.
        self._posted = Gauge(
            "coord_ledger_posted", "Sum of the entries.", ("currency",), registry=registry
        )
        self._entries = Counter("coord_ledger_entries", "Entries posted.", registry=registry)
        self._reserved = Counter(
            "coord_ledger_reserved", "Sum of the reservations.", ("currency",), registry=registry
        )
        self._reservations = Counter(
            "coord_ledger_reservations",
            "Requests to reserve, by outcome.",
            ("outcome",),
            registry=registry,
        )

    def count_posted(self, entries: Iterable[ledger_pb2.LedgerEntry]) -> None:
        """Count entries that were added."""
        for entry in entries:
            self._entries.inc()
            self._posted.labels(entry.amount.currency).inc(entry.amount.nanos / _NANOS)

    def count_reserved(self, results: Iterable[ledger_pb2.ReservationResult]) -> None:
        """Count what came of requests to reserve."""
        for result in results:
            outcome = result.WhichOneof("outcome")
            self._reservations.labels(outcome).inc()
            if outcome == "reservation":
                amount = result.reservation.amount
                self._reserved.labels(amount.currency).inc(amount.nanos / _NANOS)
