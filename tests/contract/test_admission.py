"""Calls to models: admitted with money and tokens together, or not, and settled in one call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import coord
import pytest
from coord.errors import CoordError
from coord.identity import Identity
from coord.times import SECOND
from coord.v1 import (
    admission_pb2,
    common_pb2,
    coordinator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)
from coord_runtime.tokens import Kind, Principal

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, spec, usd
from tests.serving import PROJECT, Clock, served

# One cent for a thousand output tokens; input costs nothing.
_PRICES = """
[[prices]]
model = "m*"
input = 0
output = 10
"""
CENT = 10**7
TASK, PROJECT_SCOPE = ledger_pb2.SCOPE_KIND_TASK, ledger_pb2.SCOPE_KIND_PROJECT


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    flags = FLAGS | {"ledger": {"prices": str(_prices(tmp_path))}}
    async with served(SERVICES, tmp_path / "state", "grpc", flags=flags) as running:
        yield Fleet(running)


def _prices(folder: Path) -> Path:
    prices = folder / "prices.toml"
    prices.write_text(_PRICES)
    return prices


def _identity(fleet: Fleet, name: str = "w") -> Identity:
    node = fleet.running.node
    token = node.mint.mint(Principal(Kind.WORKER, name, PROJECT))
    return Identity(node.address, token, PROJECT, name)


async def _limit(fleet: Fleet, name: str, **dimensions: tuple[int, int]) -> None:
    limits = {
        key: limiter_pb2.RateLimit(per_minute=rate, burst=burst)
        for key, (rate, burst) in dimensions.items()
    }
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name=name, limits=limiter_pb2.BucketLimits(**limits)
        )
    )


async def _left(fleet: Fleet, name: str) -> limiter_pb2.Quantities:
    request = limiter_pb2.GetBucketRequest(project=PROJECT, name=name)
    return (await fleet.limiter.GetBucket(request)).bucket.available


async def _cap(fleet: Fleet, cents: int) -> None:
    scope = ledger_pb2.Scope(kind=PROJECT_SCOPE, id=PROJECT)
    await fleet.ledger.SetBudget(
        ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, cap=usd(cents))
    )


async def _money(
    fleet: Fleet, kind: ledger_pb2.ScopeKind = PROJECT_SCOPE, name: str = PROJECT
) -> tuple[int, int]:
    """Posted and pending."""
    scope = ledger_pb2.Scope(kind=kind, id=name)
    request = ledger_pb2.GetBalanceRequest(project=PROJECT, scope=scope)
    balance = (await fleet.ledger.GetBalance(request)).balance
    return balance.posted.nanos, balance.pending.nanos


def _asked(name: str = "1", tokens: int = 1_000, **more: Any) -> admission_pb2.CallRequest:
    return admission_pb2.CallRequest(call_id=name, model="m", max_output_tokens=tokens, **more)


async def _admit(fleet: Fleet, asked: admission_pb2.CallRequest) -> admission_pb2.AdmitResponse:
    request = admission_pb2.AdmitRequest(project=PROJECT, worker="w", request=asked)
    return await fleet.coordinator.Admit(request)


class Busy(Exception):  # noqa: N818 - as a provider's client has it.
    """What the clients of providers raise."""

    def __init__(self, status_code: int = 429, **headers: str) -> None:
        super().__init__("too many requests")
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


async def test_a_call_takes_money_and_tokens_and_gives_back_what_it_does_not_use(
    fleet: Fleet,
) -> None:
    await _limit(fleet, "key", tokens=(60, 1_000), requests=(60, 10))
    async with coord.Client(_identity(fleet)) as client:
        async with client.admit(
            model="m", input_tokens=200, max_output_tokens=500, buckets=["key"]
        ) as call:
            assert (call.max_output_tokens, call.reserved.nanos) == (500, CENT // 2)
            assert await _left(fleet, "key") == limiter_pb2.Quantities(requests=9, tokens=300)
            assert await _money(fleet) == (0, CENT // 2)
            call.settle({"prompt_tokens": 200, "completion_tokens": 100})
    assert (await _left(fleet, "key")).tokens >= 700
    assert await _money(fleet) == (CENT // 10, 0)


async def test_a_task_whose_budget_an_untold_call_holds_says_so(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    await fleet.add(spec("a", budget=usd(3)))
    attempt = ref(await worker.hear("assigned"))
    assert (await _admit(fleet, _asked(tokens=3_000, attempt=attempt))).HasField("admission")
    await worker.say(released=coordinator_pb2.Released(attempt=attempt))
    request = coordinator_pb2.ExplainDispatchRequest(project=PROJECT, task_id="a")
    reasons: list[common_pb2.Reason] = []
    async with asyncio.timeout(60):
        while not any(reason.code == "CAP_REACHED" for reason in reasons):
            reasons = list((await fleet.coordinator.ExplainDispatch(request)).reasons)
            await asyncio.sleep(0.02)
    assert "calls of earlier attempts hold 0.03 USD of its budget" in reasons[0].message


@pytest.mark.parametrize(
    "usage",
    [None, "x", {}, {"input_tokens": "12"}, {"output_tokens": -5}, {"promptTokenCount": 100}],
)
async def test_a_usage_that_counts_no_tokens_is_refused_and_the_call_stays_at_its_estimate(
    fleet: Fleet, usage: Any
) -> None:
    async with coord.Client(_identity(fleet)) as client:
        with pytest.raises(ValueError, match="no count of tokens"):
            async with client.admit(model="m", input_tokens=200, max_output_tokens=500) as call:
                call.settle(usage)
    assert await _money(fleet) == (CENT // 2, 0)


async def test_what_an_attempt_calls_is_paid_out_of_its_budget(fleet: Fleet) -> None:
    worker = await fleet.worker("w")
    await fleet.add(spec("a", budget=usd(3)))
    attempt = ref(await worker.hear("assigned"))
    assert await _money(fleet, TASK, "a") == (0, 3 * CENT)
    client = coord.Client(_identity(fleet), attempt=attempt)
    async with client, client.admit(model="m", input_tokens=1, max_output_tokens=2_000) as call:
        assert await _money(fleet, TASK, "a") == (0, 3 * CENT)
        call.settle(common_pb2.Usage(output_tokens=1_000))
    assert await _money(fleet, TASK, "a") == (CENT, 2 * CENT)
    refusal = (await _admit(fleet, _asked(tokens=2_001, attempt=attempt))).refusal
    assert (refusal.code, refusal.metadata["available_output_tokens"]) == ("WITHIN_SPENT", "2000")
    listing = coordinator_pb2.ListWorkersRequest(project=PROJECT)
    (listed,) = (await fleet.coordinator.ListWorkers(listing)).workers
    assert listed.attempts[0].spent.nanos == CENT


async def test_what_an_attempt_had_left_is_not_spent_for_a_day_without_word_of_it(
    tmp_path: Path,
) -> None:
    clock = Clock()
    flags = FLAGS | {"ledger": {"expiry_interval_s": 0.05}}
    async with served(SERVICES, tmp_path, "grpc", clock, flags) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        await fleet.add(spec("a", budget=usd(3)))
        await worker.hear("assigned")
        assert await _money(fleet, TASK, "a") == (0, 3 * CENT)
        clock.pass_ns(25 * 3600 * SECOND)
        async with asyncio.timeout(60):
            while (await _money(fleet, TASK, "a"))[1]:
                await asyncio.sleep(0.02)
        assert await _money(fleet, TASK, "a") == (0, 0)


async def test_a_call_of_which_nothing_is_told_is_posted_at_its_estimate_until_it_is(
    tmp_path: Path,
) -> None:
    clock = Clock()
    flags = FLAGS | {"ledger": {"prices": str(_prices(tmp_path)), "expiry_interval_s": 0.05}}
    async with served(SERVICES, tmp_path / "state", "grpc", clock, flags) as running:
        fleet = Fleet(running)
        await _admit(fleet, _asked())
        clock.pass_ns(599 * SECOND)
        await asyncio.sleep(0.2)  # Some looks later.
        assert await _money(fleet) == (0, CENT)
        clock.pass_ns(2 * SECOND)
        async with asyncio.timeout(60):
            while await _money(fleet) != (CENT, 0):
                await asyncio.sleep(0.02)
        settlement = admission_pb2.CallSettlement(
            call_id="1", model="m", usage=common_pb2.Usage(output_tokens=100)
        )
        request = admission_pb2.SettleCallsRequest(
            project=PROJECT, worker="w", settlements=[settlement]
        )
        await fleet.coordinator.SettleCalls(request)
        assert await _money(fleet) == (CENT // 10, 0)


async def test_a_refusal_says_which_cap_what_is_left_and_what_fits(fleet: Fleet) -> None:
    await _limit(fleet, "model/m", requests=(60, 10))
    await _cap(fleet, 5)
    refusal = (await _admit(fleet, _asked(tokens=6_000))).refusal
    assert refusal.code == "CAP_REACHED"
    told = {"scope_kind": "project", "left": str(5 * CENT), "available_output_tokens": "5000"}
    assert told.items() <= dict(refusal.metadata).items()
    assert (await _left(fleet, "model/m")).requests == 10
    assert await _money(fleet) == (0, 0)


async def test_where_not_all_fits_a_call_gets_as_many_tokens_as_there_is_money_for(
    fleet: Fleet,
) -> None:
    await _cap(fleet, 5)
    admission = (await _admit(fleet, _asked(tokens=6_000, min_output_tokens=100))).admission
    assert (admission.max_output_tokens, admission.reserved.nanos) == (5_000, 5 * CENT)
    again = (await _admit(fleet, _asked(tokens=6_000, min_output_tokens=100))).admission
    assert again == admission
    assert await _money(fleet) == (0, 5 * CENT)


async def test_who_waits_for_tokens_holds_no_money(fleet: Fleet) -> None:
    # A second, in which to see that it waits.
    await _limit(fleet, "model/m", requests=(60, 1))
    await _admit(fleet, _asked())
    held = await _money(fleet)
    waiting = asyncio.create_task(_wait_for_call(fleet, _asked("2")))
    await _until_waiting(fleet, "model/m")
    assert await _money(fleet) == held
    assert (await waiting).admission.call_id == "2"


async def _wait_for_call(
    fleet: Fleet, asked: admission_pb2.CallRequest
) -> admission_pb2.AdmitResponse:
    request = admission_pb2.AdmitRequest(project=PROJECT, worker="w", request=asked)
    request.wait.FromSeconds(10)
    return await fleet.coordinator.Admit(request)


async def _until_waiting(fleet: Fleet, name: str) -> None:
    request = limiter_pb2.GetBucketRequest(project=PROJECT, name=name)
    async with asyncio.timeout(60):
        while not (await fleet.limiter.GetBucket(request)).bucket.waiting:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("sync", [False, True])
async def test_who_waits_goes_on_waiting_while_services_are_started_again(
    tmp_path: Path, *, sync: bool
) -> None:
    node = {"metrics": "", "listen": f"unix:{tmp_path}/socket", "stop_s": 0.1}
    flags = FLAGS | {"ledger": {"prices": str(_prices(tmp_path))}, "node": node}
    estimate: dict[str, Any] = {"model": "m", "input_tokens": 1, "max_output_tokens": 1}
    estimate["buckets"] = ["key"]

    async def call(identity: Identity) -> None:
        async with coord.Client(identity) as client, client.admit(**estimate) as admitted:
            admitted.give_back()

    def call_without_loop(identity: Identity) -> None:
        with coord.SyncClient(identity) as client, client.admit(**estimate) as admitted:
            admitted.give_back()

    async with served(SERVICES, tmp_path / "state", "grpc", flags=flags) as running:
        fleet = Fleet(running)
        await _limit(fleet, "key", requests=(20, 1))
        identity = _identity(fleet)
        assert (await _admit(fleet, _asked(buckets=["key"]))).HasField("admission")
        calling = asyncio.to_thread(call_without_loop, identity) if sync else call(identity)
        waiting = asyncio.create_task(calling)
        await _until_waiting(fleet, "key")
    async with served(SERVICES, tmp_path / "state", "grpc", flags=flags), asyncio.timeout(60):
        await waiting


async def test_who_could_not_pay_does_not_wait(fleet: Fleet) -> None:
    await _limit(fleet, "model/m", requests=(1, 1))
    await _cap(fleet, 1)
    await _admit(fleet, _asked())
    assert (await _wait_for_call(fleet, _asked("2"))).refusal.code == "CAP_REACHED"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (_asked(attempt=common_pb2.AttemptRef(task_id="a", fencing_token=9)), "STALE_TOKEN"),
        (admission_pb2.CallRequest(call_id="1", model="no-such-model"), "UNKNOWN_MODEL"),
        (_asked(tokens=10**9), "LARGER_THAN_BUCKET"),
    ],
)
async def test_a_call_that_can_never_be_made_is_refused(
    fleet: Fleet, asked: admission_pb2.CallRequest, code: str
) -> None:
    await _limit(fleet, "model/m", tokens=(1_000, 1_000))
    assert (await _admit(fleet, asked)).refusal.code == code


async def test_a_429_holds_back_all_workers_until_the_provider_wants_calls_again(
    fleet: Fleet,
) -> None:
    made: list[str] = []

    async def ask(name: str) -> str:
        async def call(admitted: Any) -> str:
            made.append(name)
            if len(made) == 1:
                raise Busy(retry_after="0.3")
            admitted.settle(common_pb2.Usage(output_tokens=1))
            return name

        async with coord.Client(_identity(fleet, name)) as client:
            answer: str = await client.insist(
                call, model="m", input_tokens=1, max_output_tokens=1_000
            )
            return answer

    first = asyncio.create_task(ask("w0"))
    await _paused(fleet)
    others = [asyncio.create_task(ask(f"w{number}")) for number in range(1, 12)]
    await asyncio.sleep(0.1)
    assert made == ["w0"]
    assert await asyncio.gather(first, *others) == [f"w{number}" for number in range(12)]
    assert len(made) == 13
    assert await _money(fleet) == (12 * CENT // 1_000, 0)


@pytest.mark.parametrize(("status_code", "buckets"), [(503, ["key"]), (529, [])])
async def test_a_provider_that_is_overloaded_is_not_asked_again_at_once(
    fleet: Fleet, status_code: int, buckets: list[str]
) -> None:
    await _limit(fleet, "key", requests=(6_000, 100))
    made: list[int] = []

    def ask(_: Any) -> None:
        made.append(status_code)
        raise Busy(status_code)

    async with coord.Client(_identity(fleet)) as client:
        asking = client.insist(ask, model="m", input_tokens=1, max_output_tokens=1, buckets=buckets)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking, 0.5)
    assert made == [status_code]


async def _paused(fleet: Fleet) -> None:
    """Wait until the provider's word has arrived."""
    request = limiter_pb2.ListBucketsRequest(project=PROJECT)
    async with asyncio.timeout(60):
        while not (await fleet.limiter.ListBuckets(request)).buckets:
            await asyncio.sleep(0.005)


async def test_a_program_without_a_loop_does_the_same(fleet: Fleet) -> None:
    def run() -> int:
        with coord.SyncClient(_identity(fleet)) as client:
            with client.admit(model="m", input_tokens=1, max_output_tokens=1_000) as call:
                call.settle({"input_tokens": 1, "output_tokens": 500})
            answers = iter([Busy(retry_after="0.05"), None])

            def ask(_: Any) -> int:
                if error := next(answers):
                    raise error
                return 7

            return client.insist(ask, model="m", input_tokens=1, max_output_tokens=1_000)

    assert await asyncio.to_thread(run) == 7
    # What was not settled counts at its estimate.
    assert await _money(fleet) == (CENT // 2 + CENT, 0)


async def test_a_worker_of_ones_own_admits_its_calls_on_the_stream(fleet: Fleet) -> None:
    await _limit(fleet, "model/m", requests=(6_000, 1))
    refused: list[str] = []

    async def work(task: coord.Task) -> None:
        for _ in range(3):
            async with task.admit(model="m", input_tokens=1, max_output_tokens=1_000) as call:
                call.settle({"output_tokens": 1_000})
        try:
            async with task.admit(model="m", input_tokens=1, max_output_tokens=1_001):
                raise AssertionError
        except CoordError as error:
            refused.append(error.reason)

    worker = coord.Worker(_identity(fleet))
    worker.handler(work)
    serving = asyncio.create_task(worker.serve())
    await fleet.add(spec("a", budget=usd(4)))
    await fleet.until("a", queue_pb2.TASK_STATE_COMPLETE)
    worker.stop()
    await serving
    assert refused == ["WITHIN_SPENT"]
    assert await _money(fleet, TASK, "a") == (3 * CENT, 0)


async def test_a_call_that_is_given_up_while_it_waits_leaves_the_line(fleet: Fleet) -> None:
    await _limit(fleet, "model/m", requests=(1, 1))
    worker = await fleet.worker("w")
    await worker.say(call_request=_asked())
    await worker.hear("call_admission")
    await worker.say(call_request=_asked("2"))
    assert (await worker.hear("call_wait")).call_id == "2"
    settlement = admission_pb2.CallSettlement(call_id="2", model="m")
    await worker.acknowledgement(await worker.say(call_settlement=settlement))
    assert await _money(fleet) == (0, CENT)
