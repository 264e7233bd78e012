"""What the limiter does beside granting: lines, pauses, debts of a kind, sharing, restarts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.client import connect
from coord.times import MINUTE, SECOND, duration, duration_ns, timestamp_ns
from coord.v1 import limiter_pb2
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord_limiter.service import LimiterService
from coord_runtime.tokens import Kind, Principal

from tests.contract.test_limiter_service import Limiter, refused
from tests.serving import PROJECT, Clock, served


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limiter(tmp_path: Path, clock: Clock) -> AsyncIterator[Limiter]:
    async with served(LimiterService, tmp_path, "in process", clock) as running:
        yield Limiter(running)


async def bucket(limiter: Limiter, name: str = "b") -> limiter_pb2.Bucket:
    request = limiter_pb2.GetBucketRequest(project=PROJECT, name=name)
    return (await limiter.stub.GetBucket(request)).bucket


async def report(
    limiter: Limiter, *buckets: str, status_code: int = 0, **headers: str
) -> limiter_pb2.ReportProviderStateResponse:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    request = limiter_pb2.ReportProviderStateRequest(
        project=PROJECT,
        worker=limiter.worker,
        buckets=buckets or ["b"],
        headers=said,
        status_code=status_code,
    )
    return await limiter.stub.ReportProviderState(request)


async def standing(limiter: Limiter, *units: int, wait_s: int = 10, prefix: str = "s") -> list[str]:
    """Ask for several at once, and wait; return what became of each."""
    requests = [
        limiter_pb2.GrantRequest(
            grant_id=f"{prefix}{i}", buckets=["b"], estimate=limiter_pb2.Quantities(tokens=each)
        )
        for i, each in enumerate(units)
    ]
    response = await limiter.stub.AcquireGrants(
        limiter_pb2.AcquireGrantsRequest(
            project=PROJECT,
            worker=limiter.worker,
            requests=requests,
            wait=duration(wait_s * SECOND),
        )
    )
    return [result.WhichOneof("outcome") for result in response.results]


async def test_a_batch_waits_until_all_of_it_is_decided(tmp_path: Path) -> None:
    async with served(LimiterService, tmp_path, "grpc") as running:
        limiter = Limiter(running)
        await limiter.configure(tokens=(60_000, 100))
        assert await standing(limiter, 100, 50, 101, 50) == ["grant", "grant", "refusal", "grant"]
        await limiter.configure(tokens=(60, 100))
        began = asyncio.get_running_loop().time()
        assert await standing(limiter, 90, 95, wait_s=1, prefix="t") == ["wait", "wait"]
        assert asyncio.get_running_loop().time() - began < 5


async def test_what_is_given_back_goes_to_who_waits(limiter: Limiter) -> None:
    await limiter.configure(tokens=(1, 100))
    await limiter.acquire("a", tokens=100)
    waiting = asyncio.create_task(standing(limiter, 40, 50))
    while (await bucket(limiter)).waiting < 2:
        await asyncio.sleep(0)
    assert await limiter.settle("a", tokens=10) == ""
    assert await waiting == ["grant", "grant"]
    assert (await bucket(limiter)).waiting == 0


async def test_who_comes_later_does_not_pass_who_waits(limiter: Limiter) -> None:
    await limiter.configure(tokens=(1, 100))
    await limiter.acquire("a", tokens=50)
    waiting = asyncio.create_task(standing(limiter, 80))
    while not (await bucket(limiter)).waiting:
        await asyncio.sleep(0)
    wait = (await limiter.acquire("late", tokens=20)).wait
    assert (wait.place, wait.reason.code) == (2, "BEHIND_OTHERS")
    assert duration_ns(wait.retry_after) == 50 * MINUTE
    await limiter.release("a")
    assert await waiting == ["grant"]
    assert (await limiter.acquire("late", tokens=20)).HasField("grant")


async def test_an_id_in_line_is_not_to_be_used_for_something_else(limiter: Limiter) -> None:
    await limiter.configure(tokens=(1, 100))
    await limiter.acquire("a", tokens=100)
    waiting = asyncio.create_task(standing(limiter, 80, wait_s=1))
    while not (await bucket(limiter)).waiting:
        await asyncio.sleep(0)
    assert (await refused(limiter.acquire("s0", tokens=81)))[1] == "GRANT_ID_REUSED"
    await waiting


async def test_what_the_provider_has_left_shrinks_a_bucket_and_never_fills_it(
    limiter: Limiter, clock: Clock
) -> None:
    await limiter.configure(tokens=(60, 100), requests=(60, 10))
    answer = await report(limiter, x_ratelimit_remaining_tokens="30")
    assert answer.understood.tokens.remaining == 30
    assert answer.buckets[0].available == limiter_pb2.Quantities(tokens=30, requests=10)
    await report(limiter, x_ratelimit_remaining_tokens="90", x_ratelimit_remaining_requests="99")
    assert await limiter.available() == limiter_pb2.Quantities(tokens=30, requests=10)
    clock.pass_ns(5 * SECOND)
    assert (await limiter.available()).tokens == 35


async def test_until_the_reset_nobody_is_granted_anything_also_after_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    async with served(LimiterService, tmp_path, "in process", clock) as running:
        limiter = Limiter(running)
        await limiter.configure(tokens=(60, 100))
        await report(limiter, "b", "unheard/of", status_code=429, retry_after="60")
        wait = (await limiter.acquire("a", tokens=1)).wait
        assert wait.reason.code == "BUCKET_PAUSED"
        assert duration_ns(wait.retry_after) == MINUTE
        # A shorter word of another one does not shorten it.
        await report(limiter, status_code=429, retry_after="5")
    clock.pass_ns(20 * SECOND)
    async with served(LimiterService, tmp_path, "in process", clock) as running:
        limiter = Limiter(running)
        assert timestamp_ns((await bucket(limiter)).paused_until) == clock.wall_ns + 40 * SECOND
        other = await limiter.acquire("c", ["unheard/of"], requests=1)
        assert other.wait.reason.code == "BUCKET_PAUSED"
        clock.pass_ns(40 * SECOND)
        assert (await limiter.acquire("a", tokens=1)).HasField("grant")
        assert not (await bucket(limiter)).HasField("paused_until")
        kinds = [event.WhichOneof("kind") for event in await limiter.events()]
        assert kinds.count("paused") == 2


async def test_declared_output_is_not_given_back(limiter: Limiter) -> None:
    for name, counting in (
        ("declared", limiter_pb2.OUTPUT_COUNTING_DECLARED),
        ("produced", limiter_pb2.OUTPUT_COUNTING_PRODUCED),
    ):
        limit = limiter_pb2.RateLimit(per_minute=1, burst=1_000)
        request = limiter_pb2.ConfigureBucketRequest(
            project=PROJECT,
            name=name,
            limits=limiter_pb2.BucketLimits(tokens=limit, output_tokens=limit, input_tokens=limit),
            output_counting=counting,
        )
        assert (await limiter.stub.ConfigureBucket(request)).bucket.output_counting == counting
    both = ("declared", "produced")
    await limiter.acquire("a", both, tokens=500, input_tokens=100, output_tokens=400)
    await limiter.settle("a", tokens=110, input_tokens=60, output_tokens=50)
    left = {"tokens": 540, "input_tokens": 940, "output_tokens": 600}
    assert await limiter.available("declared") == limiter_pb2.Quantities(**left)
    left = {"tokens": 890, "input_tokens": 940, "output_tokens": 950}
    assert await limiter.available("produced") == limiter_pb2.Quantities(**left)
    await limiter.acquire("b", both, tokens=500, output_tokens=400)
    await limiter.release("b")
    assert (await limiter.available("declared")).tokens == 540


async def test_an_extended_grant_outlives_its_time(limiter: Limiter, clock: Clock) -> None:
    await limiter.configure(tokens=(1, 1_000))
    for name in ("a", "b"):
        await limiter.acquire(name, tokens=100)
    clock.pass_ns(9 * MINUTE)
    request = limiter_pb2.ExtendGrantsRequest(
        project=PROJECT, worker="coordinator", grant_ids=["a", "none"]
    )
    response = await limiter.stub.ExtendGrants(request)
    assert [one.error.reason for one in response.results] == ["", "GRANT_NOT_FOUND"]
    assert timestamp_ns(response.expires_at) == clock.wall_ns + 10 * MINUTE
    clock.pass_ns(9 * MINUTE)
    assert await limiter.settle("b", tokens=1) == "GRANT_NOT_FOUND"
    assert await limiter.settle("a", tokens=1) == ""
    again = (await limiter.stub.ExtendGrants(request)).results[0]
    assert again.error.reason == "GRANT_ENDED"


async def test_buckets_of_an_account_are_one_for_all_projects(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(2):
        async with served(LimiterService, tmp_path, "grpc", clock) as running:
            token = running.node.mint.mint(Principal(Kind.SERVICE, "coordinator", "q"))
            async with connect(running.node.address, token) as channel:
                await share(Limiter(running), LimiterServiceStub(channel))
        clock.pass_ns(60 * MINUTE)


async def share(mine: Limiter, theirs: Any) -> None:
    await mine.configure("account/key", tokens=(10, 100))
    await mine.configure("own", tokens=(10, 100))
    await mine.acquire("a", ["account/key", "own"], tokens=70)
    estimate = limiter_pb2.Quantities(tokens=70)
    one = limiter_pb2.GrantRequest(grant_id="a", buckets=["account/key"], estimate=estimate)
    request = limiter_pb2.AcquireGrantsRequest(project="q", requests=[one])
    assert (await theirs.AcquireGrants(request)).results[0].HasField("wait")
    request.requests[0].buckets[:] = ["own"]
    assert (await theirs.AcquireGrants(request)).results[0].HasField("grant")


async def test_rules_of_a_bucket_outlive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        async with served(LimiterService, tmp_path, "in process") as running:
            limiter = Limiter(running)
            if not (await limiter.stub.ListBuckets(_all())).buckets:
                request = limiter_pb2.ConfigureBucketRequest(
                    project=PROJECT,
                    name="b",
                    limits=limiter_pb2.BucketLimits(
                        tokens=limiter_pb2.RateLimit(per_minute=1, burst=1)
                    ),
                    output_counting=limiter_pb2.OUTPUT_COUNTING_DECLARED,
                    weights={"w1": 2.5},
                )
                await limiter.stub.ConfigureBucket(request)
            found = await bucket(limiter)
            assert dict(found.weights) == {"w1": 2.5}
            assert found.output_counting == limiter_pb2.OUTPUT_COUNTING_DECLARED


def _all() -> limiter_pb2.ListBucketsRequest:
    return limiter_pb2.ListBucketsRequest(project=PROJECT)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"w": 0.0}},
        {"weights": {"w": 1_001.0}},
        {"weights": {"no blanks": 1.0}},
        {"output_counting": 9},
    ],
)
async def test_rules_that_make_no_sense_are_refused(
    limiter: Limiter, change: dict[str, Any]
) -> None:
    limits = limiter_pb2.BucketLimits(tokens=limiter_pb2.RateLimit(per_minute=1, burst=1))
    request = limiter_pb2.ConfigureBucketRequest(project=PROJECT, name="b", limits=limits, **change)
    assert (await refused(limiter.stub.ConfigureBucket(request)))[1] == "INVALID_FIELD"


async def test_663_tokens_do_not_pass_a_limit_of_100(limiter: Limiter) -> None:
    await limiter.configure("key", tokens=(100, 100))
    results = await asyncio.gather(
        *(limiter.acquire(f"g{i}", ["key"], tokens=51) for i in range(13))
    )
    assert [result.HasField("grant") for result in results].count(True) == 1
    assert (await limiter.acquire("large", ["key"], tokens=663)).HasField("refusal")


async def remove(limiter: Limiter, name: str = "b", request_id: str = "") -> None:
    request = limiter_pb2.RemoveBucketRequest(project=PROJECT, name=name, request_id=request_id)
    await limiter.stub.RemoveBucket(request)


async def test_a_removed_bucket_limits_nobody_any_more(tmp_path: Path, clock: Clock) -> None:
    async with served(LimiterService, tmp_path, "in process", clock) as running:
        limiter = Limiter(running)
        await limiter.configure(tokens=(1, 100))
        await limiter.acquire("a", tokens=100)
        waiting = asyncio.create_task(standing(limiter, 40, 50))
        while (await bucket(limiter)).waiting < 2:
            await asyncio.sleep(0)
        await remove(limiter, request_id="r")
        assert await waiting == ["grant", "grant"]
        assert await limiter.settle("a", tokens=200) == ""
        assert await refused(bucket(limiter)) == ("NOT_FOUND", "BUCKET_NOT_FOUND")
        assert await refused(remove(limiter)) == ("NOT_FOUND", "BUCKET_NOT_FOUND")
        kinds = [one.WhichOneof("kind") for one in await limiter.events()]
        assert kinds.count("removed") == 1
        await limiter.configure(tokens=(1, 100))
        await remove(limiter, request_id="r")
        assert (await bucket(limiter)).available.tokens == 100
        await remove(limiter)
    async with served(LimiterService, tmp_path, "in process", clock) as running:
        assert (await Limiter(running).acquire("b", tokens=101)).HasField("grant")


async def test_a_bucket_that_must_be_there_is_not_passed_over(limiter: Limiter) -> None:
    await limiter.configure(requests=(60, 10))
    for required, outcome in (([], "grant"), (["b"], "grant"), (["b", "typo"], "refusal")):
        request = limiter_pb2.GrantRequest(
            grant_id=f"g{len(required)}",
            buckets=["b", "typo"],
            estimate=limiter_pb2.Quantities(requests=1),
            required=required,
        )
        asking = limiter_pb2.AcquireGrantsRequest(
            project=PROJECT, worker=limiter.worker, requests=[request]
        )
        (result,) = (await limiter.stub.AcquireGrants(asking)).results
        assert result.WhichOneof("outcome") == outcome
    assert result.refusal.reason.code == "BUCKET_NOT_FOUND"
    assert result.refusal.reason.metadata["bucket"] == "typo"
    assert (await limiter.available()).requests == 8
