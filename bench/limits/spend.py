"""Reserve and settle: one a call, in batches, and how long a reserve takes at half of that load."""

import asyncio
import time
from itertools import count
from pathlib import Path
from typing import Any

from coord.v1 import common_pb2, ledger_pb2, ledger_pb2_grpc

from bench.processes import PROJECT, no_op, service
from bench.report import Row, compared, row
from bench.rounds import in_turns, percentile, rate

_CLIENTS = 32
_RESERVATIONS = 1_600
_BATCH = 250
_BATCH_CLIENTS = 4
_BATCHES = 8
_PAIR_SHARE, _PAIRS_A_SECOND = 0.7, 25_000
_SECONDS = 3.0
_MS = 1_000


class LedgerClient:
    """A ledger's client, the same for both sides."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        self._number = count()
        self._pairs_a_second = 0.0

    async def configure(self) -> None:
        """Cap the project at more than all rounds spend."""
        cap = common_pb2.Money(currency="USD", nanos=10**18)
        scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id=PROJECT)
        await self._stub.SetBudget(
            ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, cap=cap)
        )

    async def pairs(self) -> float:
        """Return pairs of ReserveFunds and SettleReservations a second."""
        each = _RESERVATIONS // _CLIENTS
        workers = (self._spend(f"w{one:02}", each, 1) for one in range(_CLIENTS))
        return await rate(_RESERVATIONS, workers)

    async def batched(self) -> float:
        """Return the same in batches."""
        pairs = _BATCH * _BATCHES * _BATCH_CLIENTS
        workers = (self._spend(f"w{one:02}", _BATCHES, _BATCH) for one in range(_BATCH_CLIENTS))
        return await rate(pairs, workers)

    def at(self, pairs_a_second: float) -> "LedgerClient":
        """Set the pace of `p99_ms`."""
        self._pairs_a_second = pairs_a_second
        return self

    async def p99_ms(self) -> float:
        """Return the 99th percentile of a reserve's time while pairs come at an even pace."""
        waits_s: list[float] = []
        begin, spending = time.perf_counter(), []
        for number in range(int(self._pairs_a_second * _SECONDS)):
            at = begin + number / self._pairs_a_second
            await asyncio.sleep(at - time.perf_counter())
            spending.append(asyncio.create_task(self._spend_timed(waits_s)))
        await asyncio.gather(*spending)
        return percentile(waits_s) * _MS

    async def _spend_timed(self, waits_s: list[float]) -> None:
        began, numbers = time.perf_counter(), [next(self._number)]
        await self._reserve("w00", numbers)
        waits_s.append(time.perf_counter() - began)
        await self._settle(numbers)

    async def _spend(self, worker: str, calls: int, size: int) -> None:
        for _ in range(calls):
            numbers = [next(self._number) for _ in range(size)]
            await self._reserve(worker, numbers)
            await self._settle(numbers)

    async def _reserve(self, worker: str, numbers: list[int]) -> None:
        requests = [
            ledger_pb2.ReservationRequest(
                reservation_id=f"r-{number:08}",
                scopes=[
                    ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id=PROJECT),
                    ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_WORKER, id=worker),
                    ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id=f"t-{number // 4:08}"),
                ],
                amount=common_pb2.Money(currency="USD", nanos=50_000_000),
            )
            for number in numbers
        ]
        response = await self._stub.ReserveFunds(
            ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=requests)
        )
        assert all(result.HasField("reservation") for result in response.results)

    async def _settle(self, numbers: list[int]) -> None:
        usage = common_pb2.Usage(model="m-1", input_tokens=9_000, output_tokens=700, requests=1)
        actual = common_pb2.Money(currency="USD", nanos=31_234_567)
        settlements = [
            ledger_pb2.Settlement(reservation_id=f"r-{number:08}", actual=actual, usage=usage)
            for number in numbers
        ]
        response = await self._stub.SettleReservations(
            ledger_pb2.SettleReservationsRequest(project=PROJECT, settlements=settlements)
        )
        assert not any(result.HasField("error") for result in response.results)


async def run(state: Path) -> list[Row]:
    async with service("ledger", state) as ours, no_op() as limit:
        clients = {"coord": LedgerClient(ours), "no-op": LedgerClient(limit)}
        for client in clients.values():
            await client.configure()
        pairs = await in_turns({name: one.pairs for name, one in clients.items()})
        batched = await in_turns({name: one.batched for name, one in clients.items()}, 3)
        half = sorted(pairs["coord"])[len(pairs["coord"]) // 2] / 2
        waits = await in_turns({name: one.at(half).p99_ms for name, one in clients.items()}, 3)
    times = [one / other for one, other in zip(waits["coord"], waits["no-op"], strict=True)]
    return [
        *compared("reserve + settle, one a call, 32 clients", "pairs/s", pairs, goal=_PAIR_SHARE),
        *compared(
            f"reserve + settle, batches of {_BATCH}",
            "pairs/s",
            batched,
            value_goal=_PAIRS_A_SECOND,
        ),
        row(f"reserve at {half:.0f} pairs/s, p99", "ms", waits["coord"]),
        row("reserve at half load, p99: times a no-op call's", "times", times),
    ]
