"""Reservations and settlements that name what a call uses, rather than what it costs."""

from bisect import bisect_right
from collections.abc import Sequence

from coord.errors import CoordError
from coord.v1 import common_pb2, ledger_pb2

from coord_ledger.prices import CURRENCY, Prices
from coord_ledger.requests import ReservationAsk


def price_request(
    prices: Prices, request: ledger_pb2.ReservationRequest, at_ns: int
) -> CoordError | None:
    """Fill in what a request's usage costs; return why that cannot be told, if it cannot."""
    if not request.HasField("usage"):
        return None
    try:
        most = prices.cost(request.usage, at_ns).nanos
        least = prices.cost(_with_output(request.usage, request.min_output_tokens), at_ns).nanos
    except CoordError as error:
        return error
    request.amount.CopyFrom(_dollars(most))
    request.min_amount.CopyFrom(_dollars(least if request.min_output_tokens else most))
    return None


def price_settlement(
    prices: Prices, settlement: ledger_pb2.Settlement, at_ns: int
) -> CoordError | None:
    """Fill in what a settlement's usage costs; return why that cannot be told, if it cannot."""
    if settlement.HasField("actual"):
        return None
    try:
        settlement.actual.CopyFrom(_dollars(prices.cost(settlement.usage, at_ns).nanos))
    except CoordError as error:
        return error
    return None


def tell_tokens(
    prices: Prices,
    asks: Sequence[ReservationAsk],
    results: Sequence[ledger_pb2.ReservationResult],
    at_ns: int,
) -> None:
    """Fill in how many output tokens are paid for, or would be."""
    for (_, content), result in zip(asks, results, strict=True):
        request = content.message
        if not request.HasField("usage"):
            continue
        if result.HasField("reservation"):
            nanos = result.reservation.amount.nanos
            result.reservation.max_output_tokens = _affordable(prices, request, nanos, at_ns)
        elif result.HasField("refusal"):
            nanos = result.refusal.available.nanos
            result.refusal.available_output_tokens = _affordable(prices, request, nanos, at_ns)


def _affordable(
    prices: Prices, request: ledger_pb2.ReservationRequest, nanos: int, at_ns: int
) -> int:
    """Return the most output tokens, of those that are wanted, that an amount pays for."""
    usage = request.usage
    if nanos >= request.amount.nanos:
        return usage.output_tokens

    def cost(output_tokens: int) -> int:
        return prices.cost(_with_output(usage, output_tokens), at_ns).nanos

    return max(0, bisect_right(range(usage.output_tokens + 1), nanos, key=cost) - 1)


def _with_output(usage: common_pb2.Usage, output_tokens: int) -> common_pb2.Usage:
    changed = common_pb2.Usage()
    changed.CopyFrom(usage)
    changed.output_tokens = output_tokens
    return changed


def _dollars(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency=CURRENCY, nanos=nanos)
