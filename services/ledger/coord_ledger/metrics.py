"""What the ledger counts. Amounts are in units of their currency, since the process began."""

from collections.abc import Iterable

from coord.v1 import common_pb2, ledger_pb2
from prometheus_client import CollectorRegistry, Counter, Gauge

from coord_ledger.account import Account

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

        self._corrected = Gauge(
            "coord_ledger_settled_minus_reserved",
            "Sum of what reservations were settled with, less what they had reserved.",
            ("currency",),
            registry=registry,
        )
        scope = ("kind", "scope", "currency")
        self._spent = Gauge(
            "coord_ledger_scope_posted", "Posted to a scope.", scope, registry=registry
        )
        self._held = Gauge(
            "coord_ledger_scope_pending", "Reserved in a scope.", scope, registry=registry
        )
        self._cap = Gauge(
            "coord_ledger_scope_cap",
            "The most that may be spent in a window of time.",
            (*scope, "window"),
            registry=registry,
        )

    def show(self, accounts: Iterable[Account]) -> None:
        """Show how scopes stand; of tasks, of which there are many, nothing is shown."""
        for account in accounts:
            kind, name = account.key
            if kind == ledger_pb2.SCOPE_KIND_TASK or not account.currency:
                continue
            kind_name = ledger_pb2.ScopeKind.Name(account.balance().scope.kind)
            labels = (kind_name.removeprefix("SCOPE_KIND_").lower(), name, account.currency)
            self._spent.labels(*labels).set(account.posted / _NANOS)
            self._held.labels(*labels).set(account.pending / _NANOS)
            for budget in account.balance().budgets:
                window = ledger_pb2.BudgetWindow.Name(budget.window)
                window_name = window.removeprefix("BUDGET_WINDOW_").lower()
                self._cap.labels(*labels, window_name).set(budget.cap.nanos / _NANOS)

    def count_corrections(self, corrections: Iterable[common_pb2.Money]) -> None:
        """Count by how much settlements were above what was reserved."""
        for money in corrections:
            self._corrected.labels(money.currency).inc(money.nanos / _NANOS)

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
