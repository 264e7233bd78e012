"""Checks of batches: what is wrong in one item is told with the item's number."""

from collections.abc import Callable

import pytest
from coord.errors import CoordError
from coord.v1 import common_pb2, ledger_pb2, limiter_pb2
from coord_ledger import requests
from coord_limiter import messages
from coord_runtime.checks import are_ids

DOLLAR = common_pb2.Money(currency="USD", nanos=10**9)
RUN = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id="r")
ELSEWHERE = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id="other")


@pytest.mark.parametrize("wrong", ["", "a b", "a\n", "é", "x" * 129])
def test_one_wrong_id_among_others_is_seen(wrong: str) -> None:
    assert are_ids(["a", "x" * 128, "A-1._:/@+"])
    assert not are_ids(["a", wrong, "b"])


def grants() -> None:
    asked = [limiter_pb2.GrantRequest(grant_id=name) for name in ("a", "", "b")]
    messages.asks(limiter_pb2.AcquireGrantsRequest(requests=asked))


def reservations() -> None:
    asked = [
        ledger_pb2.ReservationRequest(reservation_id="a", scopes=scopes, amount=DOLLAR)
        for scopes in ([RUN], [RUN, ELSEWHERE])
    ]
    requests.reservations(ledger_pb2.ReserveFundsRequest(project="p", requests=asked))


def settlements() -> None:
    amount = common_pb2.Money(currency="USD", nanos=-1)
    asked = [ledger_pb2.Settlement(reservation_id="a", actual=amount)]
    requests.settlements(ledger_pb2.SettleReservationsRequest(settlements=asked))


@pytest.mark.parametrize(
    ("check", "field"),
    [
        (grants, "requests[1].grant_id"),
        (reservations, "requests[1].scopes[1].id"),
        (settlements, "settlements[0].actual.nanos"),
    ],
)
def test_the_wrong_field_is_named(check: Callable[[], None], field: str) -> None:
    with pytest.raises(CoordError) as caught:
        check()
    assert caught.value.metadata["field"] == field
    assert caught.value.message.startswith(f"{field}: ")
