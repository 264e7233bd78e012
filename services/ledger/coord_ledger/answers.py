"""The ledger's answers to batches: to requests that are alike the same, each with its own id."""

from collections.abc import Iterable, Sequence

from coord.v1 import ledger_pb2

from coord_ledger import refusals
from coord_ledger.requests import ReservationAsk, SettlementAsk


def reserved(
    asks: Iterable[ReservationAsk], results: Iterable[ledger_pb2.ReservationResult]
) -> ledger_pb2.ReserveFundsResponse:
    """Return the answer to requests to reserve.

    Args:
        asks: All requests.
        results: What came of those that have a price.
    """
    response, rest = ledger_pb2.ReserveFundsResponse(), iter(results)
    for name, content in asks:
        result = refusals.unpriced(content.error) if content.error else next(rest)
        result.reservation_id = name
        if result.HasField("reservation"):
            result.reservation.reservation_id = name
        response.results.append(result)
    return response


def settled(
    asks: Iterable[SettlementAsk], results: Iterable[ledger_pb2.ReservationReportResult]
) -> ledger_pb2.SettleReservationsResponse:
    """Return the answer to settlements.

    Args:
        asks: All settlements.
        results: What came of those that have a price.
    """
    response, rest = ledger_pb2.SettleReservationsResponse(), iter(results)
    for name, content in asks:
        result = refusals.unsettled(content.error) if content.error else next(rest)
        result.reservation_id = name
        response.results.append(result)
    return response


def reported(
    ids: Sequence[str], results: Sequence[ledger_pb2.ReservationReportResult]
) -> Sequence[ledger_pb2.ReservationReportResult]:
    """Return what came of reports, each of which is told by itself."""
    for name, result in zip(ids, results, strict=True):
        result.reservation_id = name
    return results
