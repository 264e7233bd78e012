"""What the limiter answers, over gRPC and in process."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import from_rpc
from coord.times import MINUTE, SECOND, duration_ns, timestamp_ns
from coord.v1 import limiter_pb2
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord_limiter.service import LimiterService
from coord_runtime.tokens import Kind
from prometheus_client import generate_latest

from tests.serving import PROJECT, WAYS, Clock, Served, served


class Limiter:
    """The limiter, as tests talk to it."""

    def __init__(
        self, running: Served, kind: Kind = Kind.SERVICE, worker: str = "coordinator"
    ) -> None:
        self.running = running
        self.worker = worker
        self.stub = LimiterServiceStub(running.channel(kind, worker))

    async def configure(self, name: str = "b", **dimensions: tuple[int, int]) -> limiter_pb2.Bucket:
        limits = {
            key: limiter_pb2.RateLimit(per_minute=rate, burst=burst)
            for key, (rate, burst) in dimensions.items()
        }
        request = limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name=name, limits=limiter_pb2.BucketLimits(**limits)
        )
        return (await self.stub.ConfigureBucket(request)).bucket

    async def acquire(
        self, name: str, buckets: Iterable[str] = ("b",), **estimate: int
    ) -> limiter_pb2.GrantResult:
        request = limiter_pb2.GrantRequest(
            grant_id=name, buckets=buckets, estimate=limiter_pb2.Quantities(**estimate)
        )
        response = await self.stub.AcquireGrants(
            limiter_pb2.AcquireGrantsRequest(
                project=PROJECT, worker=self.worker, requests=[request]
            )
        )
        return response.results[0]

    async def settle(self, name: str, **actual: int) -> str:
        settlement = limiter_pb2.GrantSettlement(
            grant_id=name, actual=limiter_pb2.Quantities(**actual)
        )
        response = await self.stub.SettleGrants(
            limiter_pb2.SettleGrantsRequest(
                project=PROJECT, worker=self.worker, settlements=[settlement]
            )
        )
        return response.results[0].error.reason

    async def release(self, name: str) -> str:
        response = await self.stub.ReleaseGrants(
            limiter_pb2.ReleaseGrantsRequest(project=PROJECT, worker=self.worker, grant_ids=[name])
        )
        return response.results[0].error.reason

    async def available(self, name: str = "b") -> limiter_pb2.Quantities:
        request = limiter_pb2.GetBucketRequest(project=PROJECT, name=name)
        return (await self.stub.GetBucket(request)).bucket.available

    async def events(self) -> list[limiter_pb2.LimiterEvent]:
        """The events so far, up to one that is made here to mark the end."""
        await self.configure("end", requests=(1, 1))
        events: list[limiter_pb2.LimiterEvent] = []
        request = limiter_pb2.WatchLimiterEventsRequest(project=PROJECT)
        watch = self.stub.WatchLimiterEvents(request)
        async for response in watch:
            events += response.events
            if events[-1].bucket == "end":
                break
        watch.cancel()
        return events[:-1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=WAYS)
async def limiter(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Limiter]:
    flags = {"limiter": {"grant_ttl_s": 600}}
    async with served(LimiterService, tmp_path, request.param, clock, flags) as running:
        yield Limiter(running)


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc(caught.value)
    return error.code.name, error.reason


async def test_a_grant_takes_all_dimensions_of_all_buckets_or_none(limiter: Limiter) -> None:
    await limiter.configure("key", requests=(60, 2), tokens=(600, 100))
    await limiter.configure("model", tokens=(600, 50))
    both = ("key", "model", "not/configured")
    assert (await limiter.acquire("a", both, requests=1, tokens=30)).HasField("grant")
    wait = (await limiter.acquire("b", both, requests=1, tokens=30)).wait
    assert wait.reason.metadata["bucket"] == "model"
    assert wait.reason.metadata["dimension"] == "tokens"
    assert duration_ns(wait.retry_after) == SECOND
    assert await limiter.available("key") == limiter_pb2.Quantities(requests=1, tokens=70)
    assert await limiter.available("model") == limiter_pb2.Quantities(tokens=20)


async def test_a_wait_is_as_long_as_it_says(limiter: Limiter, clock: Clock) -> None:
    await limiter.configure(requests=(7, 3))
    await limiter.acquire("a", requests=3)
    wait_ns = duration_ns((await limiter.acquire("b", requests=2)).wait.retry_after)
    clock.pass_ns(wait_ns - 1)
    assert duration_ns((await limiter.acquire("b", requests=2)).wait.retry_after) == 1
    clock.pass_ns(1)
    grant = (await limiter.acquire("b", requests=2)).grant
    assert timestamp_ns(grant.granted_at) == clock.wall_ns
    assert timestamp_ns(grant.expires_at) == clock.wall_ns + 10 * MINUTE


async def test_more_than_a_bucket_holds_is_refused_for_good(limiter: Limiter) -> None:
    await limiter.configure(tokens=(600, 100))
    reason = (await limiter.acquire("a", tokens=101)).refusal.reason
    assert reason.code == "LARGER_THAN_BUCKET"
    assert reason.metadata["burst"] == "100"


async def test_a_repeated_acquire_gets_the_same_grant(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 10))
    first = await limiter.acquire("a", requests=4)
    assert await limiter.acquire("a", requests=4) == first
    other = limiter_pb2.GrantRequest(grant_id="a", buckets=["b"])
    request = limiter_pb2.AcquireGrantsRequest(
        project=PROJECT, worker="coordinator", requests=[other]
    )
    assert await refused(limiter.stub.AcquireGrants(request)) == (
        "INVALID_ARGUMENT",
        "GRANT_ID_REUSED",
    )
    assert (await limiter.available()).requests == 6


async def test_settling_corrects_the_estimate_once(limiter: Limiter) -> None:
    await limiter.configure(tokens=(1, 100))
    await limiter.acquire("a", tokens=80)
    assert await limiter.settle("a", tokens=30) == ""
    assert await limiter.settle("a", tokens=30) == ""
    assert await limiter.settle("a", tokens=31) == "GRANT_ENDED"
    assert await limiter.release("a") == "GRANT_ENDED"
    assert await limiter.settle("b", tokens=1) == "GRANT_NOT_FOUND"
    assert (await limiter.available()).tokens == 70


async def test_use_above_the_estimate_is_a_debt_that_time_pays(
    limiter: Limiter, clock: Clock
) -> None:
    await limiter.configure(tokens=(60, 100), requests=(60, 100))
    await limiter.acquire("a", tokens=100)
    await limiter.settle("a", tokens=150)
    assert (await limiter.available()).tokens == -50
    wait = (await limiter.acquire("b", tokens=10)).wait
    assert duration_ns(wait.retry_after) == MINUTE
    assert (await limiter.acquire("c", requests=1)).HasField("grant")
    clock.pass_ns(MINUTE)
    assert (await limiter.acquire("b", tokens=10)).HasField("grant")


async def test_a_released_grant_is_given_back(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 10))
    await limiter.acquire("a", requests=10)
    assert await limiter.release("a") == ""
    assert await limiter.release("a") == ""
    assert await limiter.settle("a", requests=10) == "GRANT_ENDED"
    assert (await limiter.available()).requests == 10


async def test_an_expired_grant_stands_at_its_estimate(limiter: Limiter, clock: Clock) -> None:
    await limiter.configure(requests=(1, 1_000))
    await limiter.acquire("a", requests=1_000)
    clock.pass_ns(10 * MINUTE)
    assert await limiter.settle("a", requests=0) == "GRANT_NOT_FOUND"
    assert (await limiter.available()).requests == 10


async def test_limits_change_without_filling_the_bucket(limiter: Limiter, clock: Clock) -> None:
    await limiter.configure(requests=(60, 10))
    await limiter.acquire("a", requests=10)
    bucket = await limiter.configure(requests=(120, 1_000), tokens=(60, 100))
    assert bucket.available == limiter_pb2.Quantities()
    clock.pass_ns(MINUTE)
    assert await limiter.available() == limiter_pb2.Quantities(requests=120, tokens=60)
    bucket = await limiter.configure(tokens=(60, 5))
    assert bucket.available == await limiter.available() == limiter_pb2.Quantities(tokens=5)
    assert (await limiter.acquire("b", requests=10_000)).HasField("grant")


async def test_exhaustion_is_told_once_until_there_was_room(limiter: Limiter, clock: Clock) -> None:
    await limiter.configure(requests=(60, 10))
    await limiter.configure(requests=(60, 10))
    await limiter.acquire("a", requests=10)
    await limiter.acquire("b", requests=5)
    await limiter.acquire("c", requests=6)
    clock.pass_ns(5 * SECOND)
    await limiter.acquire("b", requests=5)
    await limiter.acquire("d", requests=1)
    first, exhausted, again = await limiter.events()
    assert first.configured.limits.requests.burst == 10
    assert (exhausted.bucket, exhausted.exhausted.worker) == ("b", "coordinator")
    assert duration_ns(exhausted.exhausted.retry_after) == 5 * SECOND
    assert duration_ns(again.exhausted.retry_after) == SECOND


async def test_no_more_than_fits_is_granted_at_once(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 100))
    results = await asyncio.gather(*(limiter.acquire(f"g{i}", requests=1) for i in range(300)))
    assert sum(result.HasField("grant") for result in results) == 100


async def test_buckets_list_in_pages(limiter: Limiter) -> None:
    for name in ("c", "a", "b"):
        await limiter.configure(name, requests=(1, 1))
    request = limiter_pb2.ListBucketsRequest(project=PROJECT, page_size=2)
    first = await limiter.stub.ListBuckets(request)
    request.page_token = first.next_page_token
    second = await limiter.stub.ListBuckets(request)
    assert [bucket.name for bucket in first.buckets] == ["a", "b"]
    assert [bucket.name for bucket in second.buckets] == ["c"]
    assert not second.next_page_token


async def test_an_unknown_bucket_is_not_found(limiter: Limiter) -> None:
    assert await refused(limiter.available("none")) == ("NOT_FOUND", "BUCKET_NOT_FOUND")


@pytest.mark.parametrize(
    "limits",
    [
        limiter_pb2.BucketLimits(),
        limiter_pb2.BucketLimits(requests=limiter_pb2.RateLimit(per_minute=0, burst=1)),
        limiter_pb2.BucketLimits(requests=limiter_pb2.RateLimit(per_minute=1, burst=10**12 + 1)),
    ],
)
async def test_limits_that_make_no_sense_are_refused(
    limiter: Limiter, limits: limiter_pb2.BucketLimits
) -> None:
    request = limiter_pb2.ConfigureBucketRequest(project=PROJECT, name="b", limits=limits)
    assert (await refused(limiter.stub.ConfigureBucket(request)))[1] == "INVALID_FIELD"
    assert (await refused(limiter.available()))[1] == "BUCKET_NOT_FOUND"


async def test_one_malformed_request_refuses_the_batch(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 10))
    requests = [
        limiter_pb2.GrantRequest(
            grant_id=str(i), buckets=["b"], estimate=limiter_pb2.Quantities(requests=units)
        )
        for i, units in enumerate((5, -1))
    ]
    batch = limiter_pb2.AcquireGrantsRequest(project=PROJECT, requests=requests)
    assert (await refused(limiter.stub.AcquireGrants(batch)))[1] == "INVALID_FIELD"
    assert (await limiter.available()).requests == 10


async def test_a_worker_acts_for_itself_alone(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 10))
    mine = Limiter(limiter.running, Kind.WORKER, "w1")
    other = Limiter(limiter.running, Kind.WORKER, "w2")
    assert (await mine.acquire("a", requests=1)).HasField("grant")
    assert await other.release("a") == "GRANT_NOT_FOUND"
    assert (await refused(other.acquire("a", requests=1)))[1] == "GRANT_ID_REUSED"
    other.worker = "w1"
    assert await refused(other.release("a")) == ("PERMISSION_DENIED", "NOT_YOUR_WORKER")
    assert (await refused(mine.available()))[1] == "NOT_FOR_WORKERS"
    assert await mine.settle("a", requests=1) == ""


async def test_what_is_granted_is_counted(limiter: Limiter) -> None:
    await limiter.configure(requests=(1, 10), tokens=(1, 10))
    await limiter.acquire("a", requests=1, tokens=7)
    await limiter.acquire("a", requests=1, tokens=7)
    await limiter.acquire("b", requests=1, tokens=7)
    text = generate_latest(limiter.running.node.registry).decode()
    counts = dict(re.findall(r"^coord_limiter_(\S+) (\S+)$", text, re.MULTILINE))
    whose = f'project="{PROJECT}"'
    assert counts[f'granted_total{{dimension="tokens",{whose}}}'] == "7.0"
    assert counts[f"grants_total{{{whose}}}"] == "1.0"
    assert counts[f'waits_total{{bucket="b",dimension="tokens",{whose}}}'] == "1.0"
    assert counts[f"waiting{{{whose}}}"] == "0.0"
