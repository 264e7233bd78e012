"""How the ledger says no. To requests that are alike it says the same, without their ids."""

from functools import lru_cache

from coord.errors import CoordError
from coord.v1 import common_pb2, ledger_pb2

from coord_ledger.account import Account, Held, Key, kind_name
from coord_ledger.caps import DAY, MONTH, TOTAL, Cap

_MESSAGES = {
    "AMOUNT_OVERFLOW": "the sum would outgrow 64 bits of nanos; nothing was stored",
    "CURRENCY_DIFFERS": "the money there is of another currency; amounts of two are never added",
    "ENTRY_EXISTS": "the id was used for another cost: choose a new one",
    "RESERVATION_ENDED": "the reservation has ended otherwise; ask for a new one under a new id",
    "RESERVATION_EXISTS": "the id was used for another reservation: choose a new one",
    "RESERVATION_NOT_FOUND": "the ledger does not know this reservation: reserve first",
    "WITHIN_ENDED": "the reservation that it is to be taken out of has ended",
    "WITHIN_NOT_FOUND": "the ledger does not know the reservation that it is to be taken out of, "
    "or that one is itself taken out of another",
}
_REMEMBERED = 1_024
# Key, currency, posted and pending of a scope, and the caps that it has.
_Cap = tuple[ledger_pb2.BudgetWindow, int, tuple[float, ...], int, int]
_Stands = tuple[Key, str, int, int, tuple[_Cap, ...]]
_WINDOWS: dict[int, str] = {TOTAL: "", DAY: " for the day", MONTH: " for the month"}


def _told(amount: common_pb2.Money) -> str:
    """Return an amount for people, to its last digit."""
    units, nanos = divmod(amount.nanos, 10**9)
    number = f"{units}.{f'{nanos:09}'.rstrip('0'):0<2}"
    return f"${number}" if amount.currency == "USD" else f"{number} {amount.currency}"


def not_posted(entry_id: str, reason: str) -> ledger_pb2.RecordCostsResult:
    """Return that a cost was not posted."""
    return ledger_pb2.RecordCostsResult(entry_id=entry_id, error=_error(reason))


def not_ended(reason: str) -> ledger_pb2.ReservationReportResult:
    """Return that a report on a reservation had no effect."""
    return ledger_pb2.ReservationReportResult(error=_error(reason))


def not_reserved(reason: str) -> ledger_pb2.ReservationResult:
    """Return that a reservation cannot be served."""
    return ledger_pb2.ReservationResult(error=_error(reason))


def unpriced(why: CoordError) -> ledger_pb2.ReservationResult:
    """Return that a reservation cannot be served, since nobody knows what it costs."""
    error = common_pb2.ItemError(reason=why.reason, message=why.message, metadata=why.metadata)
    return ledger_pb2.ReservationResult(error=error)


def unsettled(why: CoordError) -> ledger_pb2.ReservationReportResult:
    """Return that a settlement had no effect, since nobody knows what it has cost."""
    error = common_pb2.ItemError(reason=why.reason, message=why.message, metadata=why.metadata)
    return ledger_pb2.ReservationReportResult(error=error)


def within_spent(
    request: ledger_pb2.ReservationRequest, outer: Held
) -> ledger_pb2.ReservationResult:
    """Return that the reservation that it is to be taken out of holds too little."""
    left = common_pb2.Money(currency=outer.currency, nanos=outer.held)
    reason = common_pb2.Reason(
        code="WITHIN_SPENT",
        message=f"what is reserved as {outer.reservation_id} has {_told(left)} "
        f"left, {_told(request.amount)} are needed",
        metadata={
            "within": outer.reservation_id,
            "left": str(left.nanos),
            "requested": str(request.amount.nanos),
            "currency": left.currency,
        },
    )
    refusal = ledger_pb2.ReservationRefusal(reason=reason, available=left)
    return ledger_pb2.ReservationResult(refusal=refusal)


def cap_reached(
    request: ledger_pb2.ReservationRequest, tightest: Account
) -> ledger_pb2.ReservationResult:
    """Return that a cap is in the way: the one that leaves the least room."""
    caps = [
        (cap.window, cap.most, cap.thresholds, cap.posted, cap.began_ns)
        for cap in tightest.caps.values()
    ]
    stands = (tightest.key, tightest.currency, tightest.posted, tightest.pending, tuple(caps))
    # Many may ask for the same of a cap that is spent; the message is made once for them.
    content = _cap_reached(stands, request.amount.currency, request.amount.nanos)
    return ledger_pb2.ReservationResult.FromString(content)


@lru_cache(_REMEMBERED)
def _cap_reached(stands: _Stands, currency: str, nanos: int) -> bytes:
    key, held_in, posted, pending, caps = stands
    account = Account(key, held_in, posted, pending, {one[0]: Cap(*one) for one in caps})
    cap, left = account.tightest, account.money(max(0, account.left))
    kind, name = key
    what = kind_name(kind)
    reason = common_pb2.Reason(
        code="CAP_REACHED",
        message=f"the budget of {what} {name}{_WINDOWS[cap.window]} has {_told(left)} left, "
        f"{_told(common_pb2.Money(currency=currency, nanos=nanos))} are needed",
        metadata={
            "scope_kind": what,
            "scope_id": name,
            "window": ledger_pb2.BudgetWindow.Name(cap.window),
            "cap": str(cap.most),
            "left": str(left.nanos),
            "requested": str(nanos),
            "currency": held_in,
        },
    )
    refusal = ledger_pb2.ReservationRefusal(
        reason=reason, balance=account.balance(), available=left
    )
    return ledger_pb2.ReservationResult(refusal=refusal).SerializeToString()


def _error(reason: str) -> common_pb2.ItemError:
    return common_pb2.ItemError(reason=reason, message=_MESSAGES[reason])
