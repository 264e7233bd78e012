"""One scope's money: what was posted, what is pending, and its cap. Integers of nanos."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from coord.v1 import common_pb2, ledger_pb2

# Kind and id of a scope.
Key = tuple[int, str]
# A scope's posted and pending together stay within 64 bits.
NANOS_MAX = 2**63 - 1
WARN_AT_DEFAULT = 0.8


@dataclass(slots=True)
class Account:
    """A scope's money.

    Attributes:
        key: The scope.
        currency: Fixed by the first amount; empty before.
        posted: The sum of its entries.
        pending: The sum of what its reservations hold.
        cap: The most that may be spent; None where it has none.
        warn: The posted amount that is a warning; None without a cap.
        warned: Whether this cap's warning was told.
        exceeded: Whether it was told that this cap is reached.
    """

    key: Key
    currency: str = ""
    posted: int = 0
    pending: int = 0
    cap: int | None = None
    warn: int | None = None
    warned: bool = False
    exceeded: bool = False

    @property
    def left(self) -> int:
        """What could still be reserved; may be negative. Without a cap: what 64 bits can hold."""
        limit = NANOS_MAX if self.cap is None else self.cap
        return limit - self.posted - self.pending

    @property
    def spent(self) -> bool:
        """Whether the posted amount has reached the cap."""
        return self.cap is not None and self.posted >= self.cap

    def takes(self, currency: str) -> bool:
        """Return whether amounts of this currency can be added."""
        return self.currency in ("", currency)

    def fits(self, nanos: int) -> bool:
        """Return whether so much more can be counted at all."""
        return self.posted + self.pending + nanos <= NANOS_MAX

    def set_cap(self, cap: int, warn_at: float) -> bool:
        """Set the cap; return whether anything changed. A new cap is warned of anew."""
        warn = _share(cap, warn_at)
        if (self.cap, self.warn) == (cap, warn):
            return False
        if self.cap != cap:
            self.warned = self.exceeded = False
        self.cap, self.warn = cap, warn
        return True

    def crossings(self) -> list[ledger_pb2.LedgerEvent]:
        """Return what has to be told of the cap now, and never again of this cap."""
        events = []
        if self.warn is not None and self.posted >= self.warn and not self.warned:
            self.warned = True
            warned = ledger_pb2.BudgetWarned(balance=self.balance())
            events.append(ledger_pb2.LedgerEvent(budget_warned=warned))
        if self.spent and not self.exceeded:
            self.exceeded = True
            exceeded = ledger_pb2.BudgetExceeded(balance=self.balance())
            events.append(ledger_pb2.LedgerEvent(budget_exceeded=exceeded))
        return events

    def balance(self) -> ledger_pb2.Balance:
        """Return it as a message."""
        return ledger_pb2.Balance(
            scope=scope(self.key),
            posted=self.money(self.posted),
            pending=self.money(self.pending),
            cap=None if self.cap is None else self.money(self.cap),
        )

    def money(self, nanos: int) -> common_pb2.Money:
        """Return an amount in the scope's currency."""
        return common_pb2.Money(currency=self.currency, nanos=nanos)


@dataclass(slots=True)
class Held:
    """A reservation.

    Attributes:
        reservation_id: Unique in the project.
        asked: The request that made it, its scopes in order.
        amount: What was reserved.
        held: What it still holds.
        drawn: The sum of the entries that were taken from it.
        expires_ns: When it expires, on the wall clock.
        state: HELD, SETTLED, RELEASED or EXPIRED.
        actual: The total that it was settled with.
    """

    reservation_id: str
    asked: ledger_pb2.ReservationRequest
    amount: int
    held: int
    drawn: int
    expires_ns: int
    state: str = "HELD"
    actual: int | None = None
    keys: tuple[Key, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = keys(self.asked.scopes)

    @property
    def currency(self) -> str:
        """The currency of all its amounts."""
        return self.asked.amount.currency

    @property
    def overdrawn(self) -> bool:
        """Whether all that was reserved has been spent."""
        return self.held == 0 and self.drawn >= self.amount


def scope(key: Key) -> ledger_pb2.Scope:
    """Return a scope as a message."""
    # The generated enum is an int in all but type.
    return ledger_pb2.Scope(kind=key[0], id=key[1])  # type: ignore[arg-type]


def keys(scopes: Iterable[ledger_pb2.Scope]) -> tuple[Key, ...]:
    """Return scopes in a fixed order."""
    return tuple(sorted((each.kind, each.id) for each in scopes))


def _share(cap: int, share: float) -> int:
    # Decimal digits, so that 0.8 of a cap is exactly that.
    exact = Decimal(cap) * Decimal(repr(share))
    return int(exact.to_integral_value(ROUND_CEILING))
