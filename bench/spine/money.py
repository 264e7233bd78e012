"""Acquire, one a call and in batches; reserve + settle."""

from itertools import count
from pathlib import Path
from typing import Any

from coord.v1 import common_pb2, ledger_pb2, ledger_pb2_grpc, limiter_pb2, limiter_pb2_grpc

from bench.processes import PROJECT, no_op, service
from bench.report import Row, compared
from bench.rounds import in_turns, rate

_CLIENTS = 32
_GRANTS = 3_200
_BATCH = 64
_BATCH_CLIENTS = 8
_BATCHES = 20
_RESERVATIONS = 1_600


class LimiterClient:
    """A limiter's client, the same for both sides."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = limiter_pb2_grpc.LimiterServiceStub(channel)
        self._number = count()

    async def configure(self) -> None:
        """Make a bucket with room for all rounds, as a large account has it."""
        limits = limiter_pb2.BucketLimits(
            requests=limiter_pb2.RateLimit(per_minute=10**7, burst=10**6),
            tokens=limiter_pb2.RateLimit(per_minute=10**11, burst=10**9),
        )
        await self._stub.ConfigureBucket(
            limiter_pb2.ConfigureBucketRequest(project=PROJECT, name="key", limits=limits)
        )

    async def unary(self) -> float:
        """Return grants a second, one a call."""
        each = _GRANTS // _CLIENTS
        return await rate(
            _GRANTS, (self._acquire(f"w{one:02}", each, 1) for one in range(_CLIENTS))
        )

    async def batched(self) -> float:
        """Return grants a second in batches."""
        grants = _BATCH * _BATCHES * _BATCH_CLIENTS
        workers = (f"w{one:02}" for one in range(_BATCH_CLIENTS))
        return await rate(grants, (self._acquire(one, _BATCHES, _BATCH) for one in workers))

    async def _acquire(self, worker: str, calls: int, size: int) -> None:
        estimate = limiter_pb2.Quantities(requests=1, tokens=1_000)
        for _ in range(calls):
            requests = [
                limiter_pb2.GrantRequest(
                    grant_id=f"g-{next(self._number):08}", buckets=["key"], estimate=estimate
                )
                for _ in range(size)
            ]
            response = await self._stub.AcquireGrants(
                limiter_pb2.AcquireGrantsRequest(project=PROJECT, worker=worker, requests=requests)
            )
            assert all(result.HasField("grant") for result in response.results)


class LedgerClient:
    """A ledger's client, the same for both sides."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        self._number = count()

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
        workers = (f"w{one:02}" for one in range(_CLIENTS))
        return await rate(_RESERVATIONS, (self._spend(one, each) for one in workers))

    async def _spend(self, worker: str, calls: int) -> None:
        for _ in range(calls):
            number = next(self._number)
            await self._reserve(worker, f"r-{number:08}", f"t-{number // 4:08}")
            await self._settle(f"r-{number:08}")

    async def _reserve(self, worker: str, reservation_id: str, task: str) -> None:
        request = ledger_pb2.ReservationRequest(
            reservation_id=reservation_id,
            scopes=[
                ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id=PROJECT),
                ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_WORKER, id=worker),
                ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id=task),
            ],
            amount=common_pb2.Money(currency="USD", nanos=50_000_000),
        )
        response = await self._stub.ReserveFunds(
            ledger_pb2.ReserveFundsRequest(project=PROJECT, requests=[request])
        )
        assert response.results[0].HasField("reservation")

    async def _settle(self, reservation_id: str) -> None:
        settlement = ledger_pb2.Settlement(
            reservation_id=reservation_id,
            actual=common_pb2.Money(currency="USD", nanos=31_234_567),
            usage=common_pb2.Usage(
                model="model-1", input_tokens=9_000, output_tokens=700, requests=1
            ),
        )
        response = await self._stub.SettleReservations(
            ledger_pb2.SettleReservationsRequest(project=PROJECT, settlements=[settlement])
        )
        assert not response.results[0].HasField("error")


async def run(state: Path) -> list[Row]:
    return [*await _acquire(state), *await _reserve(state)]


async def _acquire(state: Path) -> list[Row]:
    async with service("limiter", state) as ours, no_op() as limit:
        clients = {"coord": LimiterClient(ours), "no-op": LimiterClient(limit)}
        for client in clients.values():
            await client.configure()
        unary = await in_turns({name: one.unary for name, one in clients.items()})
        batched = await in_turns({name: one.batched for name, one in clients.items()})
    return [
        *compared("acquire, one a call, 32 clients", "grants/s", unary, goal=0.8),
        *compared("acquire, batches of 64", "grants/s", batched),
    ]


async def _reserve(state: Path) -> list[Row]:
    async with service("ledger", state) as ours, no_op() as limit:
        clients = {"coord": LedgerClient(ours), "no-op": LedgerClient(limit)}
        for client in clients.values():
            await client.configure()
        pairs = await in_turns({name: one.pairs for name, one in clients.items()})
    return compared("reserve + settle, one a call, 32 clients", "pairs/s", pairs, goal=0.7)
