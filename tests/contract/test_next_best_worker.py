"""Who gets a task where the worker that suits it best would have to wait."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import admission_pb2, claims_pb2, ledger_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, spec, usd
from tests.serving import PROJECT, served


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        yield Fleet(running)


async def _limit(fleet: Fleet, name: str, per_minute: int = 1) -> None:
    requests = limiter_pb2.RateLimit(per_minute=per_minute, burst=1)
    limits = limiter_pb2.BucketLimits(requests=requests)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(project=PROJECT, name=name, limits=limits)
    )


async def _use_up(fleet: Fleet, *names: str) -> None:
    for name in names:
        await _limit(fleet, name)
        one = limiter_pb2.GrantRequest(
            grant_id=f"all-of-{name}",
            buckets=[name],
            estimate=limiter_pb2.Quantities(requests=1),
        )
        asking = limiter_pb2.AcquireGrantsRequest(project=PROJECT, worker="other", requests=[one])
        (result,) = (await fleet.limiter.AcquireGrants(asking)).results
        assert result.HasField("grant")


async def _cap(fleet: Fleet, kind: ledger_pb2.ScopeKind, name: str, cents: int) -> None:
    scope = ledger_pb2.Scope(kind=kind, id=name)
    request = ledger_pb2.SetBudgetRequest(project=PROJECT, scope=scope, cap=usd(cents))
    await fleet.ledger.SetBudget(request)


async def _candidates(fleet: Fleet, task_id: str) -> dict[str, str]:
    request = pb.ExplainDispatchRequest(project=PROJECT, task_id=task_id)
    explained = await fleet.coordinator.ExplainDispatch(request)
    return {one.worker: one.reason.message for one in explained.candidates}


async def test_the_turn_at_one_limit_is_used_also_where_others_come_first(fleet: Fleet) -> None:
    spent = [f"spent{number}" for number in range(8)]
    await _limit(fleet, "key", per_minute=600)
    await _use_up(fleet, *spent)
    busy = await fleet.worker("busy", buckets=["key"])
    for number in range(200):
        call = admission_pb2.CallRequest(call_id=str(number), model="gpt-4o", buckets=["key"])
        await busy.say(call_request=call)
    await fleet.worker("turn", buckets=["key"], capabilities=["review"])
    for name in spent:
        await fleet.worker(name, buckets=[name], capabilities=["review"])
    await fleet.add(spec("a", required_capabilities=["review"]))
    task = await fleet.until("a", queue_pb2.TASK_STATE_ASSIGNED)
    assert task.attempts[0].worker == "turn"


async def test_a_task_waits_for_no_limit_while_another_worker_has_room(fleet: Fleet) -> None:
    await _use_up(fleet, "one", "two")
    await fleet.worker("keen", buckets=["one"], preferences={"testing": 1.0})
    await fleet.worker("keener", buckets=["two"], preferences={"testing": 0.5})
    able = await fleet.worker("able")
    await fleet.add(spec("a", category="testing"), spec("b", category="testing"))
    assert ref(await able.hear("assigned")).task_id == "a"
    await fleet.until_held("b", "RATE_LIMITED")
    told = await _candidates(fleet, "b")
    assert "one" in told["keen"]
    assert "two" in told["keener"]
    assert told["able"] == "is busy with a"


async def test_a_task_waits_for_no_workers_own_budget_while_another_has_money(
    fleet: Fleet,
) -> None:
    await _cap(fleet, ledger_pb2.SCOPE_KIND_WORKER, "keen", 50)
    await _cap(fleet, ledger_pb2.SCOPE_KIND_WORKER, "poor", 50)
    await fleet.worker("keen", preferences={"testing": 1.0})
    able = await fleet.worker("able", preferences={"testing": 0.5})
    await fleet.add(spec("a", category="testing", budget=usd(60)))
    assert ref(await able.hear("assigned")).task_id == "a"
    await fleet.worker("poor")
    await fleet.add(spec("b", category="testing", budget=usd(60)))
    await fleet.until_held("b", "BUDGET_SPENT")
    told = await _candidates(fleet, "b")
    assert "worker keen" in told["keen"]
    assert "worker poor" in told["poor"]


async def test_a_task_goes_to_who_holds_the_claim_on_its_paths(fleet: Fleet) -> None:
    holder = await fleet.worker("holder")
    path = claims_pb2.Resource(path="src/**")
    await holder.say(request=claims_pb2.ClaimRequest(claim_id="1", resources=[path]))
    await holder.hear("proceed")
    await fleet.worker("keen", preferences={"testing": 1.0})
    await fleet.add(spec("a", category="testing", paths=["src/a.py"]))
    assert ref(await holder.hear("assigned")).task_id == "a"


async def test_a_task_does_not_queue_at_a_busy_worker_since_an_idle_one_is_limited(
    tmp_path: Path,
) -> None:
    flags: dict[str, dict[str, Any]] = {
        "coordinator": FLAGS["coordinator"] | {"strategy": "work_stealing"}
    }
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet = Fleet(running)
        busy = await fleet.worker("busy", prefetch=2)
        await fleet.add(spec("begun"))
        await busy.hear("assigned")
        await _use_up(fleet, "one")
        await fleet.worker("idle", buckets=["one"])
        await fleet.add(spec("a"))
        await fleet.until_held("a", "RATE_LIMITED")
