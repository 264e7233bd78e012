"""How the ledger says no."""

from coord.v1 import common_pb2, ledger_pb2

from coord_ledger.account import Account, keys

_MESSAGES = {
    "AMOUNT_OVERFLOW": "the sum would outgrow 64 bits of nanos; nothing was stored",
    "CURRENCY_DIFFERS": "the money there is of another currency; amounts of two are never added",
    "ENTRY_EXISTS": "the id was used for another cost: choose a new one",
    "RESERVATION_ENDED": "the reservation has ended otherwise; ask for a new one under a new id",
    "RESERVATION_EXISTS": "the id was used for another reservation: choose a new one",
    "RESERVATION_NOT_FOUND": "the ledger does not know this reservation: reserve first",
}


def not_posted(entry_id: str, reason: str) -> ledger_pb2.RecordCostsResult:
    """Return that a cost was not posted."""
    return ledger_pb2.RecordCostsResult(entry_id=entry_id, error=_error(reason))


def not_ended(reservation_id: str, reason: str) -> ledger_pb2.ReservationReportResult:
    """Return that a report on a reservation had no effect."""
    return ledger_pb2.ReservationReportResult(reservation_id=reservation_id, error=_error(reason))


def not_reserved(reservation_id: str, reason: str) -> ledger_pb2.ReservationResult:
    """Return that a reservation cannot be served."""
    return ledger_pb2.ReservationResult(reservation_id=reservation_id, error=_error(reason))


def cap_reached(
    request: ledger_pb2.ReservationRequest, tightest: Account
) -> ledger_pb2.ReservationResult:
    """Return that a cap is in the way: the one that leaves the least room."""
    left = max(0, tightest.left)
    ((kind, name),) = keys([tightest.balance().scope])
    kind_name = ledger_pb2.ScopeKind.Name(kind).removeprefix("SCOPE_KIND_").lower()
    reason = common_pb2.Reason(
        code="CAP_REACHED",
        message=f"the budget of {kind_name} {name} has {left} nano-{tightest.currency} left, "
        f"{request.amount.nanos} are needed",
        metadata={
            "scope_kind": kind_name,
            "scope_id": name,
            "cap": str(tightest.cap),
            "left": str(left),
            "requested": str(request.amount.nanos),
            "currency": tightest.currency,
        },
    )
    refusal = ledger_pb2.ReservationRefusal(
        reason=reason, balance=tightest.balance(), available=tightest.money(left)
    )
    return ledger_pb2.ReservationResult(reservation_id=request.reservation_id, refusal=refusal)


def _error(reason: str) -> common_pb2.ItemError:
    return common_pb2.ItemError(reason=reason, message=_MESSAGES[reason])
