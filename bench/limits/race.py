"""A thousand reserves of $0.10 against $5.00, from four processes at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from coord.client import connect
from coord.v1.ledger_pb2_grpc import LedgerServiceStub

from bench.processes import PROJECT, served, served_no_op
from bench.racer import race, racing
from bench.report import Row, row
from bench.rounds import Side, in_turns

_SUCCEED = 50
_RACE_S_MAX = 0.5


async def run(state: Path) -> list[Row]:
    async with (
        served("ledger", state) as ours,
        served_no_op() as limit,
        _racers(*ours, succeed=_SUCCEED) as at_ours,
        _racers(*limit) as at_limit,
    ):
        figures = await in_turns({"coord": at_ours, "no-op": at_limit})
    case = "1,000 reserves of $0.10 against $5.00 from 4 processes"
    against = {"no-op": figures["no-op"]}
    goal = _RACE_S_MAX
    return [row(case, "s", figures["coord"], against=against, goal=goal, less_is_better=True)]


@asynccontextmanager
async def _racers(address: str, token: str, succeed: int | None = None) -> AsyncIterator[Side]:
    """Start clients; yield what lets them race once, and returns how long that took."""
    async with AsyncExitStack() as stack, connect(address, token) as channel:
        processes = await racing(stack, address, token, PROJECT)
        stub: Any = LedgerServiceStub(channel)
        races = count()

        async def once() -> float:
            took_s, succeeded = await race(stub, processes, f"run-{next(races)}", PROJECT)
            assert succeed in (None, succeeded)
            return took_s

        yield once
