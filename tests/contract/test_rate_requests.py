"""What workers ask of the limiter on their streams where it, or what they ask, is wrong."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from coord.errors import from_rpc
from coord.times import SECOND
from coord.v1 import admission_pb2, common_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator import turns
from coord_coordinator.service import CoordinatorService
from coord_ledger.service import LedgerService
from coord_limiter.service import LimiterService
from coord_queue.service import QueueService

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, Worker, ref, spec
from tests.serving import PROJECT, Clock, served

ONE = limiter_pb2.Quantities(requests=1)


class Limiter(LimiterService):
    """Fails as nobody has foreseen, for as long as it is told to."""

    broken: ClassVar[bool] = False

    async def acquire_grants(self, request: Any, call: Any) -> limiter_pb2.AcquireGrantsResponse:
        assert not self.broken
        response = await super().acquire_grants(request, call)
        assert not self.broken
        return response


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr(Limiter, "broken", False)
    services = (QueueService, Limiter, LedgerService, CoordinatorService)
    async with served(services, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        await _limit(fleet, requests=limiter_pb2.RateLimit(per_minute=60, burst=1))
        yield fleet


async def _limit(fleet: Fleet, bucket: str = "key", **dimensions: limiter_pb2.RateLimit) -> None:
    limits = limiter_pb2.BucketLimits(**dimensions)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(project=PROJECT, name=bucket, limits=limits)
    )


async def _keep_busy(fleet: Fleet) -> None:
    """Have a hundred calls of one worker wait for the limit."""
    busy = await fleet.worker("busy", slots=1, buckets=["key"])
    for number in range(100):
        call = admission_pb2.CallRequest(call_id=str(number), model="gpt-4o", buckets=["key"])
        await busy.say(call_request=call)
    while (await _bucket(fleet)).waiting < 90:
        await busy.hear("call_wait")


async def _ask(worker: Worker, rate_id: str, *buckets: str, requests: int = 1) -> None:
    estimate = limiter_pb2.Quantities(requests=requests)
    request = pb.RateRequest(rate_id=rate_id, buckets=buckets, estimate=estimate)
    await worker.say(rate_request=request)


async def test_a_limiter_that_fails_is_asked_again_and_its_worker_told(fleet: Fleet) -> None:
    worker = await fleet.worker("w", buckets=["key"])
    await _ask(worker, "1")
    await worker.hear("rate_grant")
    await _ask(worker, "2")
    assert (await worker.hear("rate_wait")).reason.code == "RATE_LIMITED"
    Limiter.broken = True
    wait = await worker.hear("rate_wait")
    assert (wait.rate_id, wait.reason.code) == ("2", "INTERNAL")
    assert "AcquireGrants failed" in wait.reason.message
    Limiter.broken = False
    assert (await worker.hear("rate_grant")).rate_id == "2"


@pytest.mark.parametrize("kind", ["rate", "call"])
async def test_who_asks_while_the_limiter_fails_waits_and_is_answered(
    kind: str, fleet: Fleet
) -> None:
    worker = await fleet.worker("w")
    Limiter.broken = True
    call = admission_pb2.CallRequest(call_id="1", model="gpt-4o")
    rate = pb.RateRequest(rate_id="1", estimate=ONE)
    said = {"call_request": call} if kind == "call" else {"rate_request": rate}
    await worker.say(**said)
    assert (await worker.hear(f"{kind}_wait")).reason.code == "INTERNAL"
    Limiter.broken = False
    await worker.hear("call_admission" if kind == "call" else "rate_grant")


async def test_what_the_limiter_says_is_wrong_is_refused_and_the_session_goes_on(
    fleet: Fleet,
) -> None:
    worker = await fleet.worker("w")
    await _ask(worker, "1", "key")
    await worker.hear("rate_grant")
    await _ask(worker, "1", "key", requests=2)
    assert (await worker.hear("refusal")).reason.code == "GRANT_ID_REUSED"
    await _ask(worker, "2", "key", "typo")
    refusal = await worker.hear("refusal")
    assert (refusal.id, refusal.reason.code) == ("2", "BUCKET_NOT_FOUND")
    await worker.say(call_request=admission_pb2.CallRequest(call_id="3", model="m" * 128))
    refusal = await worker.hear("refusal")
    assert (refusal.id, refusal.reason.code) == ("3", "INVALID_FIELD")


async def test_more_buckets_than_can_be_counted_for_end_that_workers_stream_alone(
    fleet: Fleet,
) -> None:
    many = [f"b{number}" for number in range(17)]
    greedy, other = await fleet.worker("w"), await fleet.worker("other", buckets=many[1:])
    await _ask(greedy, "1", *many)
    await _is_told(greedy, "rate_request.buckets: how many")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fleet.worker("new", buckets=many)
    assert "buckets: how many" in str(from_rpc(caught.value))
    await _ask(other, "2")
    await other.hear("rate_grant")


async def test_a_negative_estimate_ends_that_workers_stream_alone(fleet: Fleet) -> None:
    worker, other = await fleet.worker("w"), await fleet.worker("other")
    await _ask(worker, "1", requests=-1)
    await _is_told(worker, "rate_request.estimate.requests")
    await _ask(other, "2")
    await other.hear("rate_grant")


async def _is_told(worker: Worker, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.hear("nothing")
    error = from_rpc(caught.value)
    assert (error.reason, field in str(error)) == ("INVALID_FIELD", True)


async def test_a_worker_ends_nobody_elses_grant_by_its_name(fleet: Fleet) -> None:
    await _limit(fleet, "two", requests=limiter_pb2.RateLimit(per_minute=1, burst=2))
    victim, thief = await fleet.worker("victim"), await fleet.worker("thief")
    await _ask(victim, "1", "two")
    await victim.hear("rate_grant")
    call = admission_pb2.CallRequest(call_id="1", model="gpt-4o", buckets=["two"])
    await victim.say(call_request=call)
    await victim.hear("call_admission")
    names = ["1", "call/victim/1", "rate/victim/1"]
    last = [await thief.say(rate_settlement=pb.RateSettlement(rate_id=name)) for name in names][-1]
    await thief.acknowledgement(last)
    assert (await _bucket(fleet, "two")).available.requests == 0
    await victim.say(rate_settlement=pb.RateSettlement(rate_id="1"))
    await _ask(thief, "1", "two")
    assert (await thief.hear("rate_grant")).rate_id == "1"


async def test_who_has_many_requests_in_line_keeps_nobody_elses_out(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_WAITS_OF_WORKER_MAX", 3)
    await _limit(fleet, "slow", requests=limiter_pb2.RateLimit(per_minute=1, burst=1))
    greedy, other = await fleet.worker("greedy"), await fleet.worker("other")
    for number in range(5):
        await _ask(greedy, str(number), "slow")
    refusal = await greedy.hear("refusal")
    assert (refusal.id, refusal.reason.code) == ("4", "TOO_MANY")
    await _ask(other, "1", "slow")
    assert (await other.hear("rate_wait")).rate_id == "1"


async def test_what_an_earlier_session_waits_for_is_the_next_ones_to_ask(fleet: Fleet) -> None:
    worker = await fleet.worker("w", buckets=["key"])
    await _ask(worker, "1")
    await worker.hear("rate_grant")
    await _ask(worker, "2")
    await worker.hear("rate_wait")
    await fleet.coordinator.KillWorker(pb.KillWorkerRequest(project=PROJECT, worker="w"))
    again = await fleet.worker("w", buckets=["key"])
    await _ask(again, "2")
    await again.hear("rate_wait")
    assert (await again.hear("rate_grant")).rate_id == "2"


async def test_a_task_gets_its_turn_at_a_limit_for_which_others_calls_keep_waiting(
    fleet: Fleet,
) -> None:
    await _keep_busy(fleet)
    await fleet.add(spec("a", required_capabilities=["review"]))
    worker = await fleet.worker("w", buckets=["key"], capabilities=["review"])
    await worker.hear("assigned")
    assert (await _bucket(fleet)).waiting > 50


async def test_a_rate_request_gets_its_turn_at_a_limit_for_which_others_calls_keep_waiting(
    fleet: Fleet,
) -> None:
    await _keep_busy(fleet)
    worker = await fleet.worker("w")
    await _ask(worker, "1", "key")
    await worker.hear("rate_wait")
    assert (await worker.hear("rate_grant")).rate_id == "1"
    assert (await _bucket(fleet)).waiting > 50


async def test_a_task_is_not_held_up_by_a_rate_request_that_waits_for_something_else(
    fleet: Fleet,
) -> None:
    await _limit(fleet, tokens=limiter_pb2.RateLimit(per_minute=1, burst=10))
    worker = await fleet.worker("w", buckets=["key"])
    tokens = limiter_pb2.Quantities(tokens=5)
    await worker.say(rate_request=pb.RateRequest(rate_id="1", estimate=tokens))
    await worker.hear("rate_wait")
    await fleet.add(spec("a"))
    await worker.hear("assigned")


async def test_the_turn_at_a_limit_is_for_whichever_idle_worker_is_chosen(fleet: Fleet) -> None:
    await _limit(fleet, requests=limiter_pb2.RateLimit(per_minute=200, burst=1))
    for number in range(3):
        await fleet.worker(f"w{number}", slots=9, buckets=["key"])
    for number in range(6):
        await fleet.add(spec(f"t{number}"))
        await fleet.until(f"t{number}", queue_pb2.TASK_STATE_ASSIGNED)


async def test_a_turn_that_no_task_is_left_for_is_given_back(fleet: Fleet) -> None:
    await _limit(fleet, requests=limiter_pb2.RateLimit(per_minute=1, burst=1))
    first = await fleet.worker("first", buckets=["key"])
    await _ask(first, "1")
    await first.hear("rate_grant")
    await fleet.add(spec("a"))
    await fleet.until_held("a", "RATE_LIMITED")
    await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
    await first.say(rate_settlement=pb.RateSettlement(rate_id="1"))
    async with asyncio.timeout(60):
        while (bucket := await _bucket(fleet)).waiting or bucket.available.requests < 1:
            await asyncio.sleep(0.05)


async def test_what_an_attempt_took_is_settled_however_long_it_has_lasted(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, flags=FLAGS) as running:
        fleet = Fleet(running)
        await _limit(fleet, tokens=limiter_pb2.RateLimit(per_minute=1, burst=1_000_000))
        worker = await fleet.worker("w", buckets=["key"])
        await fleet.add(spec("a"))
        attempt = ref(await worker.hear("assigned"))
        for _ in range(3):
            clock.pass_ns(300 * SECOND)
            await worker.beat(attempt)
            await asyncio.sleep(0.3)
        usage = common_pb2.Usage(input_tokens=900_000)
        await worker.say(spent=pb.Spent(attempt=attempt, entry_id="e", usage=usage))
        await worker.acknowledgement(await worker.say(complete=pb.Complete(attempt=attempt)))
        assert (await _bucket(fleet)).available.tokens < 100_100


async def _bucket(fleet: Fleet, name: str = "key") -> limiter_pb2.Bucket:
    request = limiter_pb2.GetBucketRequest(project=PROJECT, name=name)
    return (await fleet.limiter.GetBucket(request)).bucket
