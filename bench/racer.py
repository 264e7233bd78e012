"""A thousand reserves of $0.10 against $5.00, from four processes at once.

python -m bench.racer ADDRESS NAME PROJECT

Prints a line when it is ready, reads one to begin, and prints how many succeeded and when.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from coord.client import connect
from coord.v1 import common_pb2, ledger_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub

from bench.processes import python, started

_PROCESSES = 4
_EACH = 250
_CENT = 10**7


def _usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)


def _scope(name: str) -> ledger_pb2.Scope:
    return ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id=name)


async def racing(stack: AsyncExitStack, address: str, token: str, project: str) -> list[Process]:
    """Start the clients, which wait to begin."""
    commands = [python("bench.racer", address, str(one), project) for one in range(_PROCESSES)]
    begun = (stack.enter_async_context(started(one, COORD_TOKEN=token)) for one in commands)
    return [process for process, _ in [await one for one in begun]]


async def race(
    stub: Any, processes: Sequence[Process], run_name: str, project: str
) -> tuple[float, int]:
    """Return how long a race took, and how many reserves succeeded."""
    cap = ledger_pb2.SetBudgetRequest(
        project=project, scope=_scope(run_name), cap=_usd(500 * _CENT)
    )
    await stub.SetBudget(cap)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{run_name}\n".encode())
    ended = [json.loads(await _line(process)) for process in processes]
    took_s = max(one["end"] for one in ended) - min(one["begin"] for one in ended)
    return took_s, sum(one["succeeded"] for one in ended)


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def _reserve(stub: Any, run_name: str, name: str, project: str) -> bool:
    one = ledger_pb2.ReservationRequest(
        reservation_id=name, scopes=[_scope(run_name)], amount=_usd(10 * _CENT)
    )
    request = ledger_pb2.ReserveFundsRequest(project=project, requests=[one])
    result = (await stub.ReserveFunds(request)).results[0]
    return bool(result.HasField("reservation"))


async def _main(address: str, name: str, project: str) -> None:
    async with connect(address, os.environ["COORD_TOKEN"]) as channel:
        stub: Any = LedgerServiceStub(channel)
        await channel.channel_ready()
        _say({})
        while run_name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            begin = time.perf_counter()
            names = (f"{run_name}-{name}-{number}" for number in range(_EACH))
            reserving = (_reserve(stub, run_name, one, project) for one in names)
            won = await asyncio.gather(*reserving)
            _say({"succeeded": sum(won), "begin": begin, "end": time.perf_counter()})


def _say(line: dict[str, float]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
