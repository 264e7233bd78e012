"""One scope's money: what was posted, what is pending, and its caps. Integers of nanos."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from coord.times import timestamp
from coord.v1 import common_pb2, ledger_pb2

from coord_ledger.caps import TOTAL, Cap

# Kind and id of a scope.
Key = tuple[int, str]
# The same with whose scope it is: a project, or nobody's alone.
Owned = tuple[str, int, str]
# A scope's posted and pending together stay within 64 bits.
NANOS_MAX = 2**63 - 1


@dataclass(slots=True)
class Account:
    """A scope's money.

    Attributes:
        key: The scope.
        currency: Fixed by the first amount; empty before.
        posted: The sum of its entries.
        pending: The sum of what its reservations hold.
        caps: The most that may be spent, by window.
    """

    key: Key
    currency: str = ""
    posted: int = 0
    pending: int = 0
    caps: dict[ledger_pb2.BudgetWindow, Cap] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """What could still be reserved; may be negative. Without a cap: what 64 bits can hold."""
        if not self.caps:
            return NANOS_MAX - self.posted - self.pending
        return min(cap.most - cap.posted for cap in self.caps.values()) - self.pending

    @property
    def tightest(self) -> Cap:
        """The cap that leaves the least, of one at least."""
        return min(self.caps.values(), key=lambda cap: cap.most - cap.posted)

    @property
    def spent(self) -> bool:
        """Whether the posted amount has reached a cap."""
        return any(cap.reached for cap in self.caps.values())

    def takes(self, currency: str) -> bool:
        """Return whether amounts of this currency can be added."""
        return self.currency in ("", currency)

    def fits(self, nanos: int) -> bool:
        """Return whether so much more can be counted at all."""
        return self.posted + self.pending + nanos <= NANOS_MAX

    def rests(self, nanos: int) -> bool:
        """Return whether so much more can be posted, and nothing has to be told of its caps."""
        return self.fits(nanos) and not any(cap.tells(nanos) for cap in self.caps.values())

    def roll(self, now_ns: int) -> None:
        """Begin the windows of the present."""
        for cap in self.caps.values():
            cap.roll(now_ns)

    def post(self, nanos: int) -> None:
        """Count what was posted."""
        self.posted += nanos
        for cap in self.caps.values():
            cap.posted += nanos

    def crossings(self) -> list[ledger_pb2.LedgerEvent]:
        """Return what has to be told of the caps now, and never again in their windows."""
        events = []
        for cap in self.caps.values():
            for threshold in cap.passed():
                warned = ledger_pb2.BudgetWarned(
                    balance=self.balance(), window=cap.window, threshold=threshold
                )
                events.append(ledger_pb2.LedgerEvent(budget_warned=warned))
            if cap.reached and not cap.exceeded:
                cap.exceeded = True
                exceeded = ledger_pb2.BudgetExceeded(balance=self.balance(), window=cap.window)
                events.append(ledger_pb2.LedgerEvent(budget_exceeded=exceeded))
        return events

    def balance(self) -> ledger_pb2.Balance:
        """Return it as a message."""
        total = self.caps.get(TOTAL)
        return ledger_pb2.Balance(
            scope=scope(self.key),
            posted=self.money(self.posted),
            pending=self.money(self.pending),
            cap=None if total is None else self.money(total.most),
            budgets=[self._budget(cap) for _, cap in sorted(self.caps.items())],
        )

    def _budget(self, cap: Cap) -> ledger_pb2.Budget:
        return ledger_pb2.Budget(
            window=cap.window,
            cap=self.money(cap.most),
            posted=self.money(cap.posted),
            began_at=timestamp(cap.began_ns) if cap.began_ns else None,
            thresholds=cap.thresholds,
        )

    def money(self, nanos: int) -> common_pb2.Money:
        """Return an amount in the scope's currency."""
        return common_pb2.Money(currency=self.currency, nanos=nanos)


@dataclass(slots=True)
class Held:
    """A reservation.

    Attributes:
        reservation_id: Unique in the project.
        asked: The request that made it, serialised. Its id counts for nothing there.
        keys: Its scopes, in order.
        currency: The currency of all its amounts.
        within: The reservation that it is taken out of; empty for none.
        amount: What was reserved.
        held: What it still holds.
        drawn: The sum of the entries that were taken from it.
        expires_ns: When it expires, on the wall clock.
        state: HELD, SETTLED, RELEASED or EXPIRED.
        actual: The total that it was settled with; where it has expired, what was posted for that.
        stored: Whether the disk knows it, in whatever state.
    """

    reservation_id: str
    asked: bytes
    keys: tuple[Key, ...]
    currency: str
    within: str
    amount: int
    held: int
    drawn: int
    expires_ns: int
    state: str = "HELD"
    actual: int | None = None
    stored: bool = False

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state == "HELD"

    @property
    def overdrawn(self) -> bool:
        """Whether all that was reserved has been spent."""
        return self.held == 0 and self.drawn >= self.amount


def scope(key: Key) -> ledger_pb2.Scope:
    """Return a scope as a message."""
    # The generated enum is an int in all but type.
    return ledger_pb2.Scope(kind=key[0], id=key[1])  # type: ignore[arg-type]


def kind_name(kind: int) -> str:
    """Return the name of a kind of scope, such as `run`."""
    name = next(name for name, number in ledger_pb2.ScopeKind.items() if number == kind)
    return name.removeprefix("SCOPE_KIND_").lower()


def keys(scopes: Iterable[ledger_pb2.Scope]) -> tuple[Key, ...]:
    """Return scopes in a fixed order."""
    return tuple(sorted([(each.kind, each.id) for each in scopes]))
