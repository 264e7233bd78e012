"""Caps: the most that may be spent in a window of time, and what is told on the way there."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from coord.times import SECOND
from coord.v1 import ledger_pb2

TOTAL, DAY, MONTH = (
    ledger_pb2.BUDGET_WINDOW_TOTAL,
    ledger_pb2.BUDGET_WINDOW_DAY,
    ledger_pb2.BUDGET_WINDOW_MONTH,
)
_DAY_NS = 24 * 3600 * SECOND


@dataclass(slots=True)
class Cap:
    """A cap on a scope for one window of time.

    Attributes:
        window: For ever, for each day, or for each month.
        most: The most that may be posted in it, in nanos.
        thresholds: The shares of it that are told of, rising.
        posted: What was posted in the present window.
        began_ns: When that began; 0 for ever.
        told: The thresholds that were told of in it.
        exceeded: Whether it was told that the cap is reached.
    """

    window: ledger_pb2.BudgetWindow
    most: int
    thresholds: tuple[float, ...]
    posted: int = 0
    began_ns: int = 0
    told: set[float] = field(default_factory=set)
    exceeded: bool = False

    @property
    def reached(self) -> bool:
        """Whether what was posted has reached it."""
        return self.posted >= self.most

    def roll(self, now_ns: int) -> None:
        """Begin the window of the present. A clock that was set back begins none."""
        began_ns = window_start(self.window, now_ns)
        if began_ns > self.began_ns:
            self.began_ns, self.posted = began_ns, 0
            self.told.clear()
            self.exceeded = False

    def change(self, most: int, thresholds: tuple[float, ...]) -> bool:
        """Change it; return whether that changed anything. A new amount is told of anew."""
        if (self.most, self.thresholds) == (most, thresholds):
            return False
        if self.most != most:
            self.told.clear()
            self.exceeded = False
        self.most, self.thresholds = most, thresholds
        return True

    def tells(self, nanos: int) -> bool:
        """Return whether anything has to be told once so much more is posted."""
        posted = self.posted + nanos
        return bool(self._new(posted)) or (posted >= self.most and not self.exceeded)

    def passed(self) -> list[float]:
        """Return the thresholds that have to be told of now, and never again in this window."""
        new = self._new(self.posted)
        self.told.update(new)
        return new

    def _new(self, posted: int) -> list[float]:
        return [
            one
            for one in self.thresholds
            if one not in self.told and posted >= share(self.most, one)
        ]


def window_start(window: ledger_pb2.BudgetWindow, now_ns: int) -> int:
    """Return when the present window began, by UTC; 0 for ever."""
    if window == DAY:
        return now_ns // _DAY_NS * _DAY_NS
    if window == MONTH:
        now = datetime.fromtimestamp(now_ns / SECOND, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * SECOND
    return 0


@lru_cache(1_024)
def share(most: int, part: float) -> int:
    """Return a share of an amount, rounded up."""
    # Decimal digits, so that 0.8 of a cap is exactly that.
    exact = Decimal(most) * Decimal(repr(part))
    return int(exact.to_integral_value(ROUND_CEILING))
