"""Tasks that queue at workers, and idle workers that take from the fullest queue."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from coord.environment import SYSTEM
from coord.times import SECOND, timestamp
from coord.v1 import claims_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_queue.service import QueueService

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, Worker, ref, spec
from tests.serving import PROJECT, Clock, served

_STEALING: dict[str, dict[str, Any]] = {
    "coordinator": FLAGS["coordinator"] | {"strategy": "work_stealing"}
}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with served(SERVICES, tmp_path, "grpc", flags=_STEALING) as running:
        yield Fleet(running)


async def _full(fleet: Fleet, name: str, tasks: int) -> tuple[Worker, list[Any]]:
    """Return a worker that has begun one task of its run and keeps the others in wait."""
    worker = await fleet.worker(name, prefetch=tasks - 1, runs=[name])
    await fleet.add(*(spec(f"{name}{number}", labels={"run": name}) for number in range(tasks)))
    attempts = [ref(await worker.hear("assigned")) for _ in range(tasks)]
    await worker.acknowledgement(await worker.say(started=pb.Started(attempt=attempts[0])))
    return worker, attempts


async def test_an_idle_worker_gets_what_another_has_let_go(fleet: Fleet) -> None:
    victim, attempts = await _full(fleet, "v", 3)
    thief = await fleet.worker("thief")
    recalled = (await victim.hear("recall")).attempt
    assert recalled == attempts[-1], "what it would have begun last"
    await victim.say(released=pb.Released(attempt=recalled))
    stolen = await thief.hear("assigned")
    assert stolen.lease.spec.id == recalled.task_id
    assert stolen.lease.attempt.fencing_token > attempts[-1].fencing_token
    await victim.say(started=pb.Started(attempt=recalled))
    assert (await victim.hear("revoke")).attempt == recalled
    counted = fleet.running.node.registry.get_sample_value
    assert counted("coord_coordinator_steals_tried_total") == 1
    assert counted("coord_coordinator_steals_won_total") == 1
    assert counted("coord_coordinator_dispatched_total", {"strategy": "work_stealing"}) == 3
    await thief.acknowledgement(await thief.say(complete=pb.Complete(attempt=ref(stolen))))
    task = await fleet.until(recalled.task_id, queue_pb2.TASK_STATE_COMPLETE)
    assert [one.worker for one in task.attempts] == ["v", "thief"]


async def test_what_has_started_meanwhile_stays(fleet: Fleet) -> None:
    victim, attempts = await _full(fleet, "v", 2)
    await fleet.worker("thief")
    recalled = (await victim.hear("recall")).attempt
    for attempt in attempts:
        await victim.say(started=pb.Started(attempt=recalled))
        last = await victim.say(complete=pb.Complete(attempt=attempt))
    await victim.acknowledgement(last)
    task = await fleet.task(recalled.task_id)
    assert [one.worker for one in task.attempts] == ["v"]


async def test_who_takes_from_a_bucket_before_each_task_steals_nothing(fleet: Fleet) -> None:
    victim, _ = await _full(fleet, "v", 2)
    await fleet.worker("a", buckets=["requests"])
    await fleet.worker("b")
    assert (await victim.hear("recall")).reason.message == "b is idle"


async def test_a_victim_is_asked_for_one_task_at_a_time(fleet: Fleet) -> None:
    victim, attempts = await _full(fleet, "v", 4)
    thief = await fleet.worker("thief", slots=2)
    first = (await victim.hear("recall")).attempt
    await _look_again(fleet)
    await victim.say(released=pb.Released(attempt=first))
    assert ref(await thief.hear("assigned")).task_id == first.task_id
    assert (await victim.hear("recall")).attempt == attempts[2]
    assert [first.task_id, attempts[2].task_id] == await _recalled(fleet)


async def test_a_victim_that_does_not_answer_is_asked_again_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, _STEALING) as running:
        fleet = Fleet(running)
        victim, attempts = await _full(fleet, "v", 2)
        await fleet.worker("thief")
        assert (await victim.hear("recall")).attempt == attempts[1]
        clock.pass_ns(11 * SECOND)
        await _look_again(fleet)
        assert (await victim.hear("recall")).attempt == attempts[1]


async def test_what_the_thief_has_no_room_for_any_more_is_not_moved(fleet: Fleet) -> None:
    victim, _ = await _full(fleet, "v", 2)
    thief = await fleet.worker("thief")
    recalled = (await victim.hear("recall")).attempt
    await fleet.add(spec("other", labels={"run": "other"}))
    await thief.hear("assigned")
    await victim.say(released=pb.Released(attempt=recalled))
    await victim.hear("assigned")
    attempts = (await fleet.task(recalled.task_id)).attempts
    assert [one.worker for one in attempts] == ["v", "v"]


async def test_who_is_away_or_does_not_know_of_it_is_asked_for_nothing(fleet: Fleet) -> None:
    away, _ = await _full(fleet, "away", 2)
    old = await fleet.worker("old", prefetch=1, runs=["old"], protocol_version=1)
    await fleet.add(*(spec(name, labels={"run": "old"}) for name in ("old1", "old2")))
    for _ in range(2):
        await old.hear("assigned")
    away.stream.cancel()
    async with asyncio.timeout(60):
        while (await _worker(fleet, "away")).connected:
            await asyncio.sleep(0.01)
    await fleet.worker("thief")
    await _look_again(fleet)
    assert await _recalled(fleet) == []


async def _worker(fleet: Fleet, name: str) -> pb.Worker:
    found = await fleet.coordinator.ListWorkers(pb.ListWorkersRequest(project=PROJECT))
    return next(one for one in found.workers if one.name == name)


async def _look_again(fleet: Fleet) -> None:
    """Have the dispatch look at everything once more, and wait until it has."""
    for number in range(2):
        stranger = await fleet.worker(f"{number}", runs=["none"], capabilities=["look"])
        await fleet.add(spec(f"look{number}", required_capabilities=["look"]))
        await stranger.hear("assigned")


async def test_the_fullest_queue_is_taken_from(fleet: Fleet) -> None:
    await _full(fleet, "less", 2)
    full, _ = await _full(fleet, "full", 3)
    await fleet.worker("thief")
    await full.hear("recall")
    assert await _recalled(fleet) == ["full2"]


async def _recalled(fleet: Fleet) -> list[str]:
    """Return the tasks that were called back, by the events, up to a worker that comes now."""
    await fleet.worker("last", runs=["none"])
    call = fleet.coordinator.WatchEvents(pb.WatchEventsRequest(project=PROJECT))
    tasks = []
    async for response in call:
        for event in response.events:
            if event.coordinator.reason.code == "RECALLED":
                tasks.append(event.coordinator.reason.metadata["task"])
            if event.coordinator.worker == "last":
                call.cancel()
                return tasks
    raise AssertionError("the events have ended")


async def test_only_what_the_thief_may_have_is_called_back(fleet: Fleet) -> None:
    victim = await fleet.worker("v", prefetch=9, capabilities=["gpu"])
    await fleet.add(
        spec("begun"),
        spec("mine", labels={"run": "mine"}),
        spec("other", labels={"run": "other"}),
        spec("gpu", labels={"run": "mine"}, required_capabilities=["gpu"]),
    )
    for _ in range(4):
        await victim.hear("assigned")
    await fleet.worker("thief", runs=["mine"])
    assert (await victim.hear("recall")).attempt.task_id == "mine"


async def test_the_claim_on_declared_paths_goes_with_the_task(fleet: Fleet) -> None:
    victim = await fleet.worker("v", prefetch=1)
    await fleet.add(spec("begun"), spec("task", paths=["src/**"]))
    attempts = [ref(await victim.hear("assigned")) for _ in range(2)]
    thief = await fleet.worker("thief")
    await victim.hear("recall")
    await victim.say(released=pb.Released(attempt=attempts[1]))
    await thief.hear("assigned")
    listed = await fleet.coordinator.ListClaims(claims_pb2.ListClaimsRequest(project=PROJECT))
    assert [claim.holder for claim in listed.claims] == ["thief"]
    given = (await fleet.task("task")).attempts
    assert [one.worker for one in given] == ["v", "thief"], "it was not given in vain before"


async def test_who_has_stolen_a_task_is_the_one_that_knows_its_paths(fleet: Fleet) -> None:
    victim = await fleet.worker("a", prefetch=1)
    await fleet.add(spec("begun"), spec("task", paths=["src/**"]))
    attempts = [ref(await victim.hear("assigned")) for _ in range(2)]
    thief = await fleet.worker("thief")
    await victim.hear("recall")
    await victim.say(released=pb.Released(attempt=attempts[1]))
    stolen = ref(await thief.hear("assigned"))
    await victim.acknowledgement(await victim.say(complete=pb.Complete(attempt=attempts[0])))
    await thief.acknowledgement(await thief.say(complete=pb.Complete(attempt=stolen)))
    for number in range(3):
        await fleet.add(spec(f"more-{number}", paths=["src/**"]))
        more = ref(await thief.hear("assigned"))
        await thief.acknowledgement(await thief.say(complete=pb.Complete(attempt=more)))


async def test_what_is_ending_where_it_waits_is_not_called_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, complete = asyncio.Event(), QueueService.complete_tasks

    async def complete_later(self: QueueService, request: Any, call: Any) -> Any:
        await stored.wait()
        return await complete(self, request, call)

    monkeypatch.setattr(QueueService, "complete_tasks", complete_later)
    async with served(SERVICES, tmp_path, "grpc", flags=_STEALING) as running:
        fleet = Fleet(running)
        victim, attempts = await _full(fleet, "v", 3)
        ending = await victim.say(complete=pb.Complete(attempt=attempts[2]))
        await fleet.worker("thief")
        assert (await victim.hear("recall")).attempt == attempts[1]
        stored.set()
        await victim.acknowledgement(ending)


@pytest.mark.parametrize("recalled", [False, True])
async def test_a_thief_whose_provider_is_held_back_steals_nothing(
    fleet: Fleet, *, recalled: bool
) -> None:
    victim, attempts = await _full(fleet, "v", 2)
    limited = await fleet.worker("limited", runs=["limited"], provider="claude")
    await fleet.add(spec("limited", labels={"run": "limited"}))
    attempt = ref(await limited.hear("assigned"))
    if recalled:
        await fleet.worker("thief", provider="claude")
        await victim.hear("recall")
    soon = timestamp(SYSTEM.now_ns() + 600 * SECOND)
    failed = pb.Failed(
        attempt=attempt, reason=queue_pb2.FAILURE_REASON_RATE_LIMITED, not_before=soon
    )
    await limited.acknowledgement(await limited.say(failed=failed))
    if recalled:
        await victim.say(released=pb.Released(attempt=attempts[1]))
        await victim.hear("assigned")
        given = (await fleet.task(attempts[1].task_id)).attempts
        assert [one.worker for one in given] == ["v", "v"]
    else:
        await fleet.worker("thief", provider="claude")
        await _look_again(fleet)
        assert await _recalled(fleet) == []


async def test_another_strategy_lets_go_of_nothing_that_waits(fleet: Fleet) -> None:
    victim, attempts = await _full(fleet, "v", 3)
    await fleet.worker("thief")
    recalled = (await victim.hear("recall")).attempt
    request = pb.SetStrategyRequest(project=PROJECT, strategy="round_robin")
    assert (await fleet.coordinator.SetStrategy(request)).previous == "work_stealing"
    await victim.say(started=pb.Started(attempt=recalled))
    for attempt in attempts:
        last = await victim.say(complete=pb.Complete(attempt=attempt))
    await victim.acknowledgement(last)
    done = await asyncio.gather(*(fleet.task(one.task_id) for one in attempts))
    assert {task.state for task in done} == {queue_pb2.TASK_STATE_COMPLETE}


async def test_what_waited_before_a_restart_can_be_stolen_after_it(tmp_path: Path) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=_STEALING) as running:
        victim, attempts = await _full(Fleet(running), "v", 3)
        await victim.beat(*attempts)
        await running.node.stop()
    async with served(SERVICES, tmp_path, "grpc", flags=_STEALING) as running:
        fleet = Fleet(running)
        victim = await fleet.back(victim, "v", prefetch=2, runs=["v"], held=attempts)
        assert victim.welcome.resumed
        await fleet.worker("thief")
        assert (await victim.hear("recall")).attempt == attempts[-1]


async def test_a_worker_takes_the_tasks_of_its_runs_and_of_none(fleet: Fleet) -> None:
    mine = await fleet.worker("mine", runs=["r1"], slots=9)
    await fleet.add(spec("other", labels={"run": "r2"}))
    await fleet.add(spec("own", labels={"run": "r1"}), spec("none"))
    heard = {ref(await mine.hear("assigned")).task_id for _ in range(2)}
    assert heard == {"own", "none"}
    assert await fleet.why("other") == ["OTHER_RUN"]
    anyone = await fleet.worker("anyone", slots=9)
    assert ref(await anyone.hear("assigned")).task_id == "other"
