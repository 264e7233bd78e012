"""A thousand reserves of $0.10 against $5.00, from four processes at once."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from coord.client import connect
from coord.v1.ledger_pb2_grpc import LedgerServiceStub

from bench.processes import PROJECT, served
from bench.racer import race, racing
from bench.report import Row, row

_ROUNDS = 7
_SUCCEED = 50
_RACE_S_MAX = 0.5


async def run(state: Path) -> list[Row]:
    async with served("ledger", state) as (address, token), AsyncExitStack() as racers:
        processes = await racing(racers, address, token, PROJECT)
        async with connect(address, token) as channel:
            stub: Any = LedgerServiceStub(channel)
            races = [await race(stub, processes, f"run-{one}", PROJECT) for one in range(_ROUNDS)]
    assert {succeeded for _, succeeded in races} == {_SUCCEED}
    figures = [took_s for took_s, _ in races]
    case = "1,000 reserves of $0.10 against $5.00 from 4 processes"
    return [row(case, "s", figures, goal=_RACE_S_MAX, less_is_better=True)]
