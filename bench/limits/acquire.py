"""Acquire: one a call, in batches, and over workers' streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from coord.v1 import coordinator_pb2, limiter_pb2, limiter_pb2_grpc
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub

from bench.processes import PROJECT, no_op, service
from bench.report import Row, compared
from bench.rounds import in_turns, rate
from bench.spine.host import host
from bench.worker import Worker

_CLIENTS = 32
_GRANTS = 3_200
_BATCH = 250
_BATCH_CLIENTS = 8
_BATCHES = 10
_UNARY_SHARE, _STREAM_SHARE, _A_SECOND = 0.8, 0.6, 150_000

_ROOM = limiter_pb2.BucketLimits(
    requests=limiter_pb2.RateLimit(per_minute=10**8, burst=10**7),
    tokens=limiter_pb2.RateLimit(per_minute=10**11, burst=10**10),
)
_ESTIMATE = limiter_pb2.Quantities(requests=1, tokens=1_000)


class LimiterClient:
    """A limiter's client, the same for both sides."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = limiter_pb2_grpc.LimiterServiceStub(channel)
        self._number = count()

    async def configure(self, project: str = PROJECT) -> None:
        """Make a bucket with room for all rounds, as a large account has it."""
        await self._stub.ConfigureBucket(
            limiter_pb2.ConfigureBucketRequest(project=project, name="key", limits=_ROOM)
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
        for _ in range(calls):
            requests = [
                limiter_pb2.GrantRequest(
                    grant_id=f"g-{next(self._number):08}", buckets=["key"], estimate=_ESTIMATE
                )
                for _ in range(size)
            ]
            response = await self._stub.AcquireGrants(
                limiter_pb2.AcquireGrantsRequest(project=PROJECT, worker=worker, requests=requests)
            )
            assert all(result.HasField("grant") for result in response.results)


class StreamClient:
    """Workers that ask on their streams, the same for both sides."""

    def __init__(self, channel: Any, project: str) -> None:
        self._stub: Any = CoordinatorServiceStub(channel)
        self._project = project
        self._round = count()

    async def grants(self) -> float:
        """Return grants a second, one a message, over streams."""
        async with self._workers() as workers:
            return await rate(_GRANTS, map(self._ask, workers))

    async def _ask(self, worker: Worker) -> None:
        for number in range(_GRANTS // _CLIENTS):
            request = coordinator_pb2.RateRequest(
                rate_id=f"{worker.name}-{number}", buckets=["key"], estimate=_ESTIMATE
            )
            await worker.say(rate_request=request)
            await worker.settled()

    @asynccontextmanager
    async def _workers(self) -> AsyncIterator[list[Worker]]:
        this = next(self._round)
        names = [f"w{this}-{one:02}" for one in range(_CLIENTS)]
        workers = [Worker(self._stub, self._project, name, 1) for name in names]
        for worker in workers:
            await worker.join()
        yield workers
        for worker in workers:
            await worker.leave()


async def run(state: Path) -> list[Row]:
    return [*await _calls(state / "calls"), *await _streams(state / "streams")]


async def _calls(state: Path) -> list[Row]:
    async with service("limiter", state) as ours, no_op() as limit:
        clients = {"coord": LimiterClient(ours), "no-op": LimiterClient(limit)}
        for client in clients.values():
            await client.configure()
        unary = await in_turns({name: one.unary for name, one in clients.items()})
        batched = await in_turns({name: one.batched for name, one in clients.items()})
    return [
        *compared("acquire, one a call, 32 clients", "grants/s", unary, goal=_UNARY_SHARE),
        *compared(f"acquire, batches of {_BATCH}", "grants/s", batched, value_goal=_A_SECOND),
    ]


async def _streams(state: Path) -> list[Row]:
    async with host(state) as running, no_op() as limit:
        await LimiterClient(running.channel).configure(running.project)
        clients = {
            "coord": StreamClient(running.channel, running.project),
            "no-op": StreamClient(limit, running.project),
        }
        figures = await in_turns({name: one.grants for name, one in clients.items()})
    return compared("acquire over 32 streams", "grants/s", figures, goal=_STREAM_SHARE)
