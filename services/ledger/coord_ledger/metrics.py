"""What the ledger counts. Amounts are in units of their currency, since the process began."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby

from coord.v1 import ledger_pb2
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coord_ledger.account import Account, Owned, kind_name
from coord_ledger.postings import Posting

_NANOS = 1e9
_WINDOWS = {
    number: name.removeprefix("BUDGET_WINDOW_").lower()
    for name, number in ledger_pb2.BudgetWindow.items()
}


class LedgerMetrics(Collector):
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

        self._corrected = Gauge(
            "coord_ledger_settled_minus_reserved",
            "Sum of what reservations were settled with, less what they had reserved.",
            ("currency",),
            registry=registry,
        )
        self._shown: dict[Owned, Account] = {}
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Return how scopes stand; of tasks, of which there are many, nothing is shown."""
        names = ("project", "kind", "scope", "currency")
        posted = GaugeMetricFamily("coord_ledger_scope_posted", "Posted to a scope.", labels=names)
        pending = GaugeMetricFamily(
            "coord_ledger_scope_pending", "Reserved in a scope.", labels=names
        )
        most = GaugeMetricFamily(
            "coord_ledger_scope_cap",
            "The most that may be spent in a window of time.",
            labels=(*names, "window"),
        )
        for (project, kind, scope), account in list(self._shown.items()):
            labels = (project, kind_name(kind), scope, account.currency)
            posted.add_metric(labels, account.posted / _NANOS)
            pending.add_metric(labels, account.pending / _NANOS)
            for cap in list(account.caps.values()):
                most.add_metric((*labels, _WINDOWS[cap.window]), cap.most / _NANOS)
        return posted, pending, most

    def show(self, accounts: Mapping[Owned, Account]) -> None:
        """Take note of how scopes stand."""
        for place, account in accounts.items():
            if account.key[0] != ledger_pb2.SCOPE_KIND_TASK:
                # A copy: what is at work may be ahead of what is on disk.
                caps = {window: replace(cap) for window, cap in account.caps.items()}
                self._shown[place] = replace(account, caps=caps)

    def count_corrections(self, corrections: Mapping[str, int]) -> None:
        """Count by how much settlements were above what was reserved."""
        for currency, nanos in corrections.items():
            self._corrected.labels(currency).inc(nanos / _NANOS)

    def count_posted(self, postings: Iterable[Posting]) -> None:
        """Count entries that were added."""
        for one in postings:
            amount, number = one.entry.amount, len(one.ids)
            self._entries.inc(number)
            self._posted.labels(amount.currency).inc(amount.nanos * number / _NANOS)

    def count_reserved(self, results: Iterable[ledger_pb2.ReservationResult]) -> None:
        """Count what came of requests to reserve."""
        for _, run in groupby(results, id):
            alike = list(run)
            result, number = alike[0], len(alike)
            self._reservations.labels(result.WhichOneof("outcome")).inc(number)
            if result.HasField("reservation"):
                amount = result.reservation.amount
                self._reserved.labels(amount.currency).inc(amount.nanos * number / _NANOS)
