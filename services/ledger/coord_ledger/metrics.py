"""What the ledger counts. Amounts are in units of their currency, since the process began."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby

from coord.v1 import ledger_pb2
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coord_ledger.account import Account, Owned, kind_name
from coord_ledger.postings import Posting

_NANOS = 1e9
_WINDOWS = {
    number: name.removeprefix("BUDGET_WINDOW_").lower()
    for name, number in ledger_pb2.BudgetWindow.items()
}


# Currency, posted and pending of a scope, and its caps by window.
_Standing = tuple[str, int, int, list[tuple[ledger_pb2.BudgetWindow, int]]]


class LedgerMetrics(Collector):
    """The ledger's Prometheus metrics: plain numbers, which the event loop alone changes.

    The client's own metrics lock at every count.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._entries = 0
        self._posted: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._corrected: Counter[str] = Counter()
        self._shown: dict[Owned, _Standing] = {}
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
        for (project, kind, scope), standing in list(self._shown.items()):
            currency, nanos_posted, nanos_pending, caps = standing
            labels = (project, kind_name(kind), scope, currency)
            posted.add_metric(labels, nanos_posted / _NANOS)
            pending.add_metric(labels, nanos_pending / _NANOS)
            for window, nanos in caps:
                most.add_metric((*labels, _WINDOWS[window]), nanos / _NANOS)
        return (posted, pending, most, *self._sums())

    def _sums(self) -> Iterable[Metric]:
        entries = CounterMetricFamily("coord_ledger_entries", "Entries posted.", self._entries)
        asked = CounterMetricFamily(
            "coord_ledger_reservations", "Requests to reserve, by outcome.", labels=("outcome",)
        )
        for outcome, number in list(self._outcomes.items()):
            asked.add_metric((outcome,), number)
        yield from (entries, asked)
        # Corrections may be negative, so that only what is reserved is a counter.
        for kind, name, what, sums in (
            (GaugeMetricFamily, "posted", "Sum of the entries.", self._posted),
            (CounterMetricFamily, "reserved", "Sum of the reservations.", self._reserved),
            (
                GaugeMetricFamily,
                "settled_minus_reserved",
                "Sum of what reservations were settled with, less what they had reserved.",
                self._corrected,
            ),
        ):
            metric = kind(f"coord_ledger_{name}", what, labels=("currency",))
            for currency, nanos in list(sums.items()):
                metric.add_metric((currency,), nanos / _NANOS)
            yield metric

    def show(self, accounts: Mapping[Owned, Account]) -> None:
        """Take note of how scopes stand."""
        for place, account in accounts.items():
            if account.key[0] != ledger_pb2.SCOPE_KIND_TASK:
                # Plain values: what is at work may be ahead of what is on disk.
                caps = [(cap.window, cap.most) for cap in account.caps.values()]
                self._shown[place] = (account.currency, account.posted, account.pending, caps)

    def count_corrections(self, corrections: Mapping[str, int]) -> None:
        """Count by how much settlements were above what was reserved."""
        for currency, nanos in corrections.items():
            self._corrected[currency] += nanos

    def count_posted(self, postings: Iterable[Posting]) -> None:
        """Count entries that were added."""
        for one in postings:
            amount = one.entry.amount
            self._entries += len(one.ids)
            self._posted[amount.currency] += amount.nanos * len(one.ids)

    def count_reserved(self, results: Iterable[ledger_pb2.ReservationResult]) -> None:
        """Count what came of requests to reserve."""
        for _, run in groupby(results, id):
            result, *others = run
            number = 1 + len(others)
            self._outcomes[result.WhichOneof("outcome")] += number
            if result.HasField("reservation"):
                amount = result.reservation.amount
                self._reserved[amount.currency] += amount.nanos * number
