"""The look at the books finds a cap that was passed, so that the campaign can fail."""

import asyncio
import json
from pathlib import Path

from coord.client import connect
from coord.v1 import common_pb2, ledger_pb2, ledger_pb2_grpc
from coord_ledger.service import LedgerService
from coord_runtime.node import Node, NodePlan
from coord_runtime.tokens import Kind, Principal

from tests.crash import books

_PROJECT = "demo"
_SCOPE = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="t")


def test_what_is_spent_beyond_a_reservation_may_pass_a_cap(tmp_path: Path) -> None:
    asyncio.run(_spend(tmp_path, cap=200, second=110))
    assert _wrong(tmp_path) == []


def test_a_reservation_for_which_a_cap_had_no_room_is_found(tmp_path: Path) -> None:
    asyncio.run(_spend(tmp_path, cap=200, second=120))
    assert _wrong(tmp_path) == ["t@2 got 120 of t's 200, 90 were spent"]


def _wrong(folder: Path) -> list[str]:
    told = folder / "told"
    costs = [{"task": "t", "fencing_token": 1, "nanos": nanos} for nanos in (90, 160)]
    told.write_text("".join(f"{json.dumps(cost)}\n" for cost in costs))
    return books.wrong(folder, told, {"t": 1})


async def _spend(folder: Path, cap: int, second: int) -> None:
    """Spend 90 of 200 on an attempt, and 160 of what a second one gets; cap it once all is done."""
    node = await Node.start(
        NodePlan([LedgerService], _PROJECT, folder, flags={"node": {"metrics": ""}})
    )
    token = node.mint.mint(Principal(Kind.OPERATOR, "operator", _PROJECT))
    try:
        async with connect(node.address, token) as channel:
            ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
            await _attempt(ledger, "t@1", 200, 90)
            await _attempt(ledger, "t@2", second, 160)
            request = ledger_pb2.SetBudgetRequest(project=_PROJECT, scope=_SCOPE, cap=_money(cap))
            await ledger.SetBudget(request)
    finally:
        await node.stop()


async def _attempt(
    ledger: "ledger_pb2_grpc.LedgerServiceAsyncStub", name: str, amount: int, spent: int
) -> None:
    asked = ledger_pb2.ReservationRequest(
        reservation_id=name, scopes=[_SCOPE], amount=_money(amount)
    )
    await ledger.ReserveFunds(ledger_pb2.ReserveFundsRequest(project=_PROJECT, requests=[asked]))
    cost = ledger_pb2.Cost(entry_id=name, amount=_money(spent), reservation_id=name)
    await ledger.RecordCosts(ledger_pb2.RecordCostsRequest(project=_PROJECT, costs=[cost]))
    await ledger.ReleaseReservations(
        ledger_pb2.ReleaseReservationsRequest(project=_PROJECT, reservation_ids=[name])
    )


def _money(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)
