"""A thousand reserves of $0.10 against $5.00, from four processes at once.

python -m bench.limits.race ADDRESS NAME

Prints a line when it is ready, reads one to begin, and prints how many succeeded and when.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from coord.client import connect
from coord.v1 import common_pb2, ledger_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub

from bench.processes import PROJECT, python, served, started
from bench.report import Row, row

_PROCESSES = 4
_EACH = 250
_ROUNDS = 7
_SUCCEED = 50
_RACE_S_MAX = 0.5
_CENT = 10**7


def _usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)


def _scope(name: str) -> ledger_pb2.Scope:
    return ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id=name)


async def run(state: Path) -> list[Row]:
    async with served("ledger", state) as (address, token), AsyncExitStack() as racers:
        command = python("bench.limits.race", address)
        racing = [
            await racers.enter_async_context(started([*command, str(one)], COORD_TOKEN=token))
            for one in range(_PROCESSES)
        ]
        async with connect(address, token) as channel:
            stub: Any = LedgerServiceStub(channel)
            figures = [await _race(stub, racing, f"run-{one}") for one in range(_ROUNDS)]
    case = "1,000 reserves of $0.10 against $5.00 from 4 processes"
    return [row(case, "s", figures, goal=_RACE_S_MAX, less_is_better=True)]


async def _race(stub: Any, racing: list[tuple[Any, Any]], run_name: str) -> float:
    """Return how long the race took; exactly fifty win it."""
    cap = ledger_pb2.SetBudgetRequest(
        project=PROJECT, scope=_scope(run_name), cap=_usd(500 * _CENT)
    )
    await stub.SetBudget(cap)
    for process, _ in racing:
        process.stdin.write(f"{run_name}\n".encode())
    ended = [json.loads(await process.stdout.readline()) for process, _ in racing]
    assert sum(one["succeeded"] for one in ended) == _SUCCEED
    took_s: float = max(one["end"] for one in ended) - min(one["begin"] for one in ended)
    return took_s


async def _reserve(stub: Any, run_name: str, name: str) -> bool:
    one = ledger_pb2.ReservationRequest(
        reservation_id=name, scopes=[_scope(run_name)], amount=_usd(10 * _CENT)
    )
    request = ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[one])
    result = (await stub.ReserveFunds(request)).results[0]
    return bool(result.HasField("reservation"))


async def _main(address: str, name: str) -> None:
    async with connect(address, os.environ["COORD_TOKEN"]) as channel:
        stub: Any = LedgerServiceStub(channel)
        await channel.channel_ready()
        _say({})
        while run_name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            begin = time.perf_counter()
            names = (f"{run_name}-{name}-{number}" for number in range(_EACH))
            won = await asyncio.gather(*(_reserve(stub, run_name, one) for one in names))
            _say({"succeeded": sum(won), "begin": begin, "end": time.perf_counter()})


def _say(line: dict[str, float]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
