"""What every queue store must do, whatever holds its rows."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coord.errors import CoordError
from coord.times import timestamp_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_queue.store import Page

from tests.queue_stores import AGEING_NS, STORES, Store, once, ref
from tests.serving import PROJECT

PENDING, ASSIGNED, COMPLETE = pb.TASK_STATE_PENDING, pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_COMPLETE
ABORTED = pb.TASK_STATE_ABORTED
AGENT_ERROR, LOST = pb.FAILURE_REASON_AGENT_ERROR, pb.FAILURE_REASON_WORKER_LOST


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(request.param, tmp_path)
    yield one
    await one.queue.close()


def spec(task_id: str, *deps: str, priority: int = 100) -> pb.TaskSpec:
    return pb.TaskSpec(id=task_id, deps=deps, priority=priority)


def ids(leases: list[pb.Lease]) -> list[str]:
    return [lease.spec.id for lease in leases]


async def test_what_was_answered_is_there_after_reopening(store: Store) -> None:
    await store.add(spec("a"), spec("b", "a"), spec("c"))
    first, second = await store.lease(2)
    await store.complete(first)
    await store.queue.pause(PROJECT, "why")
    await store.reopen()
    states = [store.state(task_id) for task_id in "abc"]
    assert states == [COMPLETE, PENDING, ASSIGNED]
    assert store.queue.pause_message(PROJECT) == "why"
    assert [one.token for one in store.queue.live()] == [ref(second).fencing_token]


async def test_fencing_tokens_grow_also_after_reopening(store: Store) -> None:
    tokens: list[int] = []
    for number in range(4):
        await store.add(spec(f"t{number}"))
        tokens += [one.attempt.fencing_token for one in await store.lease()]
        await store.reopen()
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 4


async def test_a_write_with_a_request_id_is_done_once_also_after_reopening(store: Store) -> None:
    await store.add(spec("a"), spec("b"))
    request = pb.LeaseTasksRequest(project=PROJECT, worker="w", max_tasks=1)
    name = once("r", request, pb.LeaseTasksResponse)
    answer = await store.queue.lease(request, name)
    await store.reopen()
    assert await store.queue.lease(request, name) == answer
    assert store.state("b") == PENDING
    request.max_tasks = 2
    with pytest.raises(CoordError) as caught:
        await store.queue.lease(request, once("r", request, pb.LeaseTasksResponse))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_nothing_is_remembered_where_nothing_was_given(store: Store) -> None:
    request = pb.LeaseTasksRequest(project=PROJECT, worker="w", max_tasks=1)
    name = once("r", request, pb.LeaseTasksResponse)
    assert not (await store.queue.lease(request, name, or_nothing=False)).leases
    await store.add(spec("a"))
    assert ids(list((await store.queue.lease(request, name, or_nothing=False)).leases)) == ["a"]


async def test_an_older_task_overtakes_a_more_urgent_one(store: Store) -> None:
    await store.add(spec("old", priority=102))
    store.clock.pass_ns(2 * AGEING_NS - 1)
    await store.add(spec("early", priority=100))
    store.clock.pass_ns(1)
    await store.add(spec("late", priority=100))
    assert ids(await store.lease(3)) == ["early", "old", "late"]


async def test_a_task_comes_back_from_its_backoff_at_its_rank(store: Store) -> None:
    await store.add(spec("a"))
    (lease,) = await store.lease()
    await store.add(spec("b"), spec("c", priority=101))
    await store.fail(lease, AGENT_ERROR)
    task = store.queue.get(PROJECT, "a")
    assert task is not None
    assert store.queue.next_ready_ns(PROJECT) == timestamp_ns(task.not_before)
    assert (store.queue.ready_count(PROJECT), ids(await store.lease(1))) == (2, ["b"])
    store.clock.wall_ns = timestamp_ns(task.not_before)
    assert store.queue.next_ready_ns(PROJECT) == 0
    (back,) = await store.lease()
    assert (back.spec.id, back.attempt.number, back.previous.detail) == ("a", 2, "output")


async def test_reports_in_the_wrong_order_change_nothing(store: Store) -> None:
    await store.add(spec("a"))
    (first,) = await store.lease()
    assert (await store.complete(first))[0].state == COMPLETE
    starting = pb.StartTasksRequest(project=PROJECT, attempts=[ref(first)])
    assert (await store.queue.start(starting)).results[0].error.reason == "STALE_TOKEN"
    assert (await store.fail(first, AGENT_ERROR)).error.reason == "STALE_TOKEN"
    assert (await store.complete(first, first))[1].state == COMPLETE


async def test_a_report_names_the_task_and_the_token_of_one_attempt(store: Store) -> None:
    await store.add(spec("a"), spec("b"))
    first, second = await store.lease(2)
    await store.fail(first, LOST)
    crossed = pb.Lease(spec=second.spec, attempt=first.attempt)
    assert (await store.fail(crossed, LOST)).error.reason == "STALE_TOKEN"
    assert not (await store.fail(first, LOST)).HasField("error")


async def test_an_attempt_that_is_ended_by_the_clock_ends_once(store: Store) -> None:
    await store.add(spec("a"))
    (lease,) = await store.lease()
    failure = pb.Failure(attempt=ref(lease), reason=LOST, message="expired")
    assert await store.queue.end(PROJECT, [failure]) == 1
    assert await store.queue.end(PROJECT, [failure]) == 0
    assert (await store.complete(lease))[0].error.reason == "STALE_TOKEN"


async def test_a_reassigned_attempt_loses_to_its_successor(store: Store) -> None:
    await store.add(spec("a"))
    (lease,) = await store.lease(worker="w1")
    item = pb.Reassignment(attempt=ref(lease), worker="w2")
    request = pb.ReassignTasksRequest(project=PROJECT, reassignments=[item, item])
    taken, refused = (await store.queue.reassign(request, None)).results
    assert refused.error.reason == "STALE_TOKEN"
    assert taken.lease.attempt.fencing_token > lease.attempt.fencing_token
    assert (await store.complete(lease))[0].error.reason == "STALE_TOKEN"
    assert (await store.complete(taken.lease, worker="w2"))[0].state == COMPLETE


async def test_a_paused_queue_gives_nothing_and_takes_reports(store: Store) -> None:
    await store.add(spec("a"), spec("b"))
    (lease,) = await store.lease()
    await store.queue.pause(PROJECT, "why")
    assert (await store.lease(), store.queue.ready_count(PROJECT)) == ([], 0)
    assert not store.queue.stats(PROJECT).HasField("oldest_ready_at")
    request = pb.AssignTasksRequest(project=PROJECT, worker="w", task_ids=["b"])
    assert (await store.queue.assign(request, None)).results[0].error.reason == "NOT_READY"
    assert (await store.complete(lease))[0].state == COMPLETE
    await store.queue.resume(PROJECT)
    assert ids(await store.lease()) == ["b"]


async def test_a_pause_holds_for_what_comes_before_it_is_on_disk(store: Store) -> None:
    await store.add(spec("a"))
    # While the first one is committed, the others wait for one commit together.
    named = pb.AssignTasksRequest(project=PROJECT, worker="w", task_ids=["a"])
    _, _, leases, assigned = await asyncio.gather(
        store.add(spec("b")),
        store.queue.pause(PROJECT, "why"),
        store.lease(),
        store.queue.assign(named, None),
    )
    assert leases == []
    assert assigned.results[0].error.reason == "NOT_READY"


async def test_tasks_go_with_what_waits_for_them_or_not_at_all(store: Store) -> None:
    await store.add(spec("a"), spec("b", "a"), spec("c", "b"))
    request = pb.RemoveTasksRequest(project=PROJECT, task_ids=["a", "b"])
    kept = (await store.queue.remove(request, None)).results
    assert [one.error.reason for one in kept] == ["HAS_DEPENDENTS", "HAS_DEPENDENTS"]
    request.task_ids.append("c")
    assert not any(
        one.HasField("error") for one in (await store.queue.remove(request, None)).results
    )
    assert (store.order(), list(store.queue.stats(PROJECT).counts)) == ([], [])


async def test_a_dependency_that_aborts_one_task_is_seen_by_the_next_item(store: Store) -> None:
    await store.add(spec("bad"), spec("a"), spec("b", "a"), spec("c"))
    cancelling = pb.CancelTasksRequest(project=PROJECT, task_ids=["bad"])
    await store.queue.cancel(cancelling, None)
    items = [
        pb.TaskDependencies(task_id="a", deps=["bad"]),
        pb.TaskDependencies(task_id="c", deps=["b"]),
    ]
    request = pb.AddDependenciesRequest(project=PROJECT, dependencies=items)
    await store.queue.add_dependencies(request, None)
    assert [store.state(task_id) for task_id in "abc"] == [ABORTED] * 3


async def test_lists_go_on_where_their_page_ended(store: Store) -> None:
    names = [f"t{number}" for number in range(25)]
    await store.add(*(spec(name) for name in names))
    listed: list[str] = []
    after = 0
    while True:
        page = Page(size=7, after=after, states=(), worker="", labels={})
        tasks, after = store.queue.list_page(PROJECT, page)
        listed += [task.spec.id for task in tasks]
        if not after:
            break
    assert listed == names
    first, place = store.queue.ready(PROJECT, 10)
    rest, end = store.queue.ready(PROJECT, 100, place)
    assert ([one.id for one in (*first, *rest)], end) == (names, [])
    assert [node.task_id for node in store.order(page=4)] == names


async def test_projects_do_not_see_one_another(store: Store) -> None:
    await store.add(spec("a"))
    other = pb.AddTasksRequest(project="other", tasks=[spec("a"), spec("b", "a")])
    await store.queue.add(other, None)
    assert ids(await store.lease(5)) == ["a"]
    assert store.queue.ready_count("other") == 1
    events = await anext(store.queue.watch("other", 0))
    assert [event.meta.sequence for event in events] == [1, 2]


async def test_renewals_of_others_are_revoked_and_leave_no_progress(store: Store) -> None:
    await store.add(spec("a"))
    (lease,) = await store.lease(worker="w1")
    stale = common_pb2.AttemptRef(task_id="a", fencing_token=ref(lease).fencing_token + 1)
    progress = common_pb2.Progress(summary="mine")
    renewals = [pb.LeaseRenewal(attempt=stale, progress=progress)]
    await store.queue.report_progress(PROJECT, "w1", renewals)
    own = [pb.LeaseRenewal(attempt=ref(lease), progress=progress)]
    await store.queue.report_progress(PROJECT, "w2", own)
    revoked, going = store.queue.directives(PROJECT, "", [stale, ref(lease)])
    assert (revoked, going) == (pb.LEASE_DIRECTIVE_REVOKE, pb.LEASE_DIRECTIVE_CONTINUE)
    task = store.queue.get(PROJECT, "a")
    assert task is not None
    assert not task.attempts[0].HasField("progress")


@pytest.mark.parametrize("seed", range(4))
async def test_the_order_stays_topological_whatever_edges_come(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"t{number}" for number in range(60)]
    await store.add(*(spec(name) for name in names))
    deps: dict[str, set[str]] = {name: set() for name in names}
    for _ in range(150):
        task, dep = chance.choice(names), chance.choice(names)
        if reaches(deps, dep, task):
            with pytest.raises(CoordError) as caught:
                await store.depend(task, dep)
            assert caught.value.reason == "CYCLE"
        else:
            await store.depend(task, dep)
            deps[task].add(dep)
        store.check_order()
    assert {node.task_id: set(node.deps) for node in store.order()} == deps


def reaches(deps: dict[str, set[str]], start: str, goal: str) -> bool:
    left, seen = [start], {start}
    while left:
        one = left.pop()
        left += deps[one] - seen
        seen |= deps[one]
    return goal in seen
