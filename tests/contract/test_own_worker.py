"""Workers that are written with `coord.Worker`, against real services."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import coord
import pytest
from coord.errors import CoordError
from coord.identity import Identity
from coord.v1 import claims_pb2, common_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.tokens import Kind, Principal

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, spec, usd
from tests.serving import PROJECT, Served, served

COMPLETE, FAILED = queue_pb2.TASK_STATE_COMPLETE, queue_pb2.TASK_STATE_FAILED
_EXAMPLE = Path(__file__).parents[2] / "examples" / "worker.py"
_ONCE = queue_pb2.RetryPolicy(max_attempts=1)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        yield Fleet(running)


def _identity(running: Served, name: str) -> Identity:
    token = running.node.mint.mint(Principal(Kind.WORKER, name, PROJECT))
    return Identity(running.node.address, token, PROJECT, name)


@asynccontextmanager
async def _at_work(
    fleet: Fleet, handler: Any, name: str = "w", **settings: Any
) -> AsyncIterator[coord.Worker]:
    worker = coord.Worker(_identity(fleet.running, name), **settings)
    worker.handler(handler)
    serving = asyncio.create_task(worker.serve())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(60):
            await serving


class _Handler:
    """Begins, and goes on when it is told to."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[coord.Task] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.cancelled: list[str] = []

    async def __call__(self, task: coord.Task) -> str:
        self.tasks.put_nowait(task)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.append(task.id)
            raise
        return "done"

    async def begun(self) -> coord.Task:
        async with asyncio.timeout(60):
            return await self.tasks.get()


async def test_a_handler_works_at_a_task(fleet: Fleet) -> None:
    async def work(task: coord.Task) -> str:
        task.progress(f"{task.title}: {task.prompt}", 0.5)
        await task.spent(10**7, usage=common_pb2.Usage(model="m", output_tokens=5))
        return "did it"

    await fleet.add(spec("a", title="A", prompt="do it", budget=usd(50)))
    async with _at_work(fleet, work):
        task = await fleet.until("a", COMPLETE)
    assert task.message == "did it"
    assert task.attempts[0].progress.summary == "A: do it"


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (
            coord.TaskFailed("no", detail="more", reason=queue_pb2.FAILURE_REASON_REFUSED),
            queue_pb2.FAILURE_REASON_REFUSED,
            "more",
        ),
        (ValueError("a bug"), queue_pb2.FAILURE_REASON_AGENT_ERROR, "ValueError: a bug"),
        (asyncio.CancelledError(), queue_pb2.FAILURE_REASON_AGENT_ERROR, ""),
    ],
)
async def test_an_error_ends_the_attempt(
    fleet: Fleet, error: BaseException, reason: queue_pb2.FailureReason, detail: str
) -> None:
    async def work(_: coord.Task) -> str:
        raise error

    await fleet.add(spec("a", retry_policy=_ONCE))
    async with _at_work(fleet, work):
        attempt = (await fleet.until("a", FAILED)).attempts[0]
    assert attempt.reason == reason
    assert detail in attempt.detail


async def test_a_command_that_is_not_there_is_named(fleet: Fleet) -> None:
    async def work(task: coord.Task) -> None:
        await task.run("./do-it.sh")

    await fleet.add(spec("a", retry_policy=_ONCE))
    async with _at_work(fleet, work):
        attempt = (await fleet.until("a", FAILED)).attempts[0]
    assert attempt.message.startswith("FileNotFoundError: ")
    assert "./do-it.sh" in attempt.message


def test_what_a_worker_is_written_with_is_exported() -> None:
    assert {"Client", "CoordError", "Task", "TaskFailed", "Worker"} <= set(dir(coord))
    assert coord.CoordError is coord.errors.CoordError


async def test_a_task_that_is_given_back_uses_up_no_attempt(fleet: Fleet) -> None:
    async def work(task: coord.Task) -> str:
        if task.number == 1:
            raise coord.TaskReleased("not now")
        return f"after {task.previous.message}"

    await fleet.add(spec("a", retry_policy=_ONCE))
    async with _at_work(fleet, work):
        task = await fleet.until("a", COMPLETE)
    assert task.message == "after not now"


async def test_a_cancelled_task_cancels_its_handler_alone(fleet: Fleet) -> None:
    handler = _Handler()
    await fleet.add(spec("a"), spec("b"))
    async with _at_work(fleet, handler, slots=2):
        await handler.begun(), await handler.begun()
        await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
        async with asyncio.timeout(60):
            while not handler.cancelled:
                await asyncio.sleep(0.01)
        handler.go_on.set()
        await fleet.until("b", COMPLETE)
    assert handler.cancelled == ["a"]
    assert (await fleet.task("a")).state == queue_pb2.TASK_STATE_CANCELLED


async def test_the_slot_of_a_cancelled_task_is_free_without_a_wait_for_the_next_heartbeat(
    tmp_path: Path,
) -> None:
    flags = FLAGS | {"coordinator": {**FLAGS["coordinator"], "heartbeat_s": 60.0, "grace_s": 180.0}}
    async with served(SERVICES, tmp_path, "grpc", flags=flags) as running:
        fleet, handler = Fleet(running), _Handler()
        await fleet.add(spec("a", priority=1), spec("b"))
        async with _at_work(fleet, handler):
            assert (await handler.begun()).id == "a"
            await fleet.queue.CancelTasks(
                queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"])
            )
            assert (await handler.begun()).id == "b"
            handler.go_on.set()


async def test_a_task_may_take_only_its_time(fleet: Fleet) -> None:
    handler = _Handler()
    await fleet.add(spec("a", timeout={"nanos": 50_000_000}, retry_policy=_ONCE))
    async with _at_work(fleet, handler):
        task = await fleet.until("a", FAILED)
    assert task.attempts[0].reason == queue_pb2.FAILURE_REASON_TIMEOUT
    assert handler.cancelled == ["a"]


async def test_overspending_stops_the_handler(fleet: Fleet) -> None:
    async def work(task: coord.Task) -> str:
        await task.spent(9 * 10**7)
        while task.warning is None:
            await asyncio.sleep(0.01)
        await task.spent(5 * 10**7)
        await asyncio.sleep(60)
        return "too much"

    await fleet.add(spec("a", budget=usd(10)))
    async with _at_work(fleet, work):
        task = await fleet.until("a", FAILED)
    assert task.attempts[0].reason == queue_pb2.FAILURE_REASON_OUT_OF_BUDGET


async def test_what_has_not_begun_is_given_to_an_idle_worker(fleet: Fleet) -> None:
    request = pb.SetStrategyRequest(project=PROJECT, strategy="work_stealing")
    await fleet.coordinator.SetStrategy(request)
    slow, quick = _Handler(), _Handler()
    quick.go_on.set()
    async with _at_work(fleet, slow, "slow", prefetch=3):
        await fleet.add(*(spec(f"t{number}") for number in range(4)))
        await slow.begun()
        async with _at_work(fleet, quick, "quick", prefetch=3):
            for number in (1, 2, 3):
                task = await fleet.until(f"t{number}", COMPLETE)
                assert task.attempts[-1].worker == "quick"
        slow.go_on.set()
        await fleet.until("t0", COMPLETE)
    assert slow.tasks.empty()


async def test_a_drained_worker_finishes_what_it_has_begun_and_gives_back_the_rest(
    fleet: Fleet,
) -> None:
    request = pb.SetStrategyRequest(project=PROJECT, strategy="work_stealing")
    await fleet.coordinator.SetStrategy(request)
    handler = _Handler()
    worker = coord.Worker(_identity(fleet.running, "w"), prefetch=1)
    worker.handler(handler)
    serving = asyncio.create_task(worker.serve())
    await fleet.add(spec("a"), spec("b"))
    await handler.begun()
    await fleet.coordinator.DrainWorkers(pb.DrainWorkersRequest(project=PROJECT))
    await fleet.until("b", queue_pb2.TASK_STATE_ASSIGNED)
    handler.go_on.set()
    async with asyncio.timeout(60):
        await serving
    assert (await fleet.task("a")).state == COMPLETE
    given_back = await fleet.task("b")
    assert given_back.attempts[0].reason == queue_pb2.FAILURE_REASON_RELEASED


async def test_a_worker_that_is_stopped_before_it_serves_leaves_at_once(fleet: Fleet) -> None:
    worker = coord.Worker(_identity(fleet.running, "w"))
    with pytest.raises(ValueError, match="no handler"):
        await worker.serve()
    worker.handler(_Handler())
    worker.stop()
    async with asyncio.timeout(60):
        await worker.serve()


async def test_one_claim_holds_off_another(fleet: Fleet) -> None:
    inside: list[str] = []
    most: list[int] = []

    async def work(task: coord.Task) -> str:
        async with task.claim("src/**", names=["port/80"]) as claim:
            assert claim.fencing_token
            inside.append(task.id)
            most.append(len(inside))
            await asyncio.sleep(0.05)
            inside.remove(task.id)
        return ""

    await fleet.add(*(spec(f"t{number}") for number in range(4)))
    async with _at_work(fleet, work, "one", slots=1), _at_work(fleet, work, "two", slots=1):
        for number in range(4):
            await fleet.until(f"t{number}", COMPLETE)
    assert most == [1, 1, 1, 1]
    listed = await fleet.coordinator.ListClaims(claims_pb2.ListClaimsRequest(project=PROJECT))
    assert not listed.claims


async def test_a_claim_that_is_taken_back_cancels_its_block(fleet: Fleet) -> None:
    seen: list[str] = []

    async def work(task: coord.Task) -> str:
        try:
            async with task.claim("src/**") as claim:
                await fleet.coordinator.ReleaseClaims(
                    claims_pb2.ReleaseClaimsRequest(
                        project=PROJECT, holder="w", claim_ids=[claim.claim_id]
                    )
                )
                await asyncio.sleep(60)
        except CoordError as error:
            seen.append(error.reason)
        return "goes on"

    await fleet.add(spec("a"))
    async with _at_work(fleet, work):
        assert (await fleet.until("a", COMPLETE)).message == "goes on"
    assert seen == ["CLAIM_LOST"]


async def test_calls_wait_for_their_bucket_and_are_settled(fleet: Fleet) -> None:
    tokens = limiter_pb2.RateLimit(per_minute=60_000, burst=100)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(tokens=tokens)
        )
    )
    refused: list[str] = []

    async def work(task: coord.Task) -> str:
        for _ in range(2):
            async with task.rate("key", tokens=100) as use:
                use.settle(tokens=100)
        try:
            async with task.rate("key", tokens=1_000):
                pass
        except CoordError as error:
            refused.append(error.reason)
        return ""

    await fleet.add(spec("a"))
    async with _at_work(fleet, work):
        await fleet.until("a", COMPLETE)
    assert refused == ["LARGER_THAN_BUCKET"]


async def test_a_call_that_nobody_waits_for_any_more_takes_nothing_from_its_bucket(
    fleet: Fleet,
) -> None:
    requests = limiter_pb2.RateLimit(per_minute=600, burst=2)
    await fleet.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=PROJECT, name="key", limits=limiter_pb2.BucketLimits(requests=requests)
        )
    )

    async def work(task: coord.Task) -> str:
        for _ in range(2):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1), task.rate("key", requests=2):
                    pass
        return ""

    await fleet.add(spec("a"))
    async with _at_work(fleet, work):
        await fleet.until("a", COMPLETE)
        # Time enough for the second call to be granted, but not for what it took to come back.
        await asyncio.sleep(0.2)
    bucket = (
        await fleet.limiter.GetBucket(limiter_pb2.GetBucketRequest(project=PROJECT, name="key"))
    ).bucket
    assert bucket.available.requests == 2


async def test_workers_write_to_one_another(fleet: Fleet) -> None:
    async with (
        _at_work(fleet, _Handler(), "one") as one,
        _at_work(fleet, _Handler(), "two", roles=["reviewer"]) as two,
    ):
        await _until_there(fleet, "one", "two")
        assert await one.send("look", role="reviewer", thread="t") == ["two"]
        async with asyncio.timeout(60):
            heard = await two.receive()
        assert (heard.sender, heard.body, heard.thread) == ("one", "look", "t")
        with pytest.raises(CoordError, match="was seen"):
            await one.send("hello", worker="nobody")


async def test_the_example_works_and_ends_its_command_when_it_has_to_stop(
    fleet: Fleet, tmp_path: Path
) -> None:
    assert len(_EXAMPLE.read_text().splitlines()) < 30
    identity = _identity(fleet.running, "mine")
    variables = {
        "COORD_ADDRESS": identity.address,
        "COORD_TOKEN": identity.token,
        "COORD_PROJECT": PROJECT,
        "COORD_WORKER": "mine",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_EXAMPLE), "/bin/sh", "-c"), env=os.environ | variables
    )
    try:
        await fleet.add(spec("a", prompt="true"), spec("b", prompt="exit 3", retry_policy=_ONCE))
        assert (await fleet.until("a", COMPLETE)).message == "the command went well"
        failed = await fleet.until("b", FAILED)
        assert failed.attempts[0].message == "the command exited with status 3"
        pid_file = tmp_path / "pid"
        await fleet.add(spec("c", prompt=f"echo $$ > {pid_file}; sleep 60"))
        async with asyncio.timeout(60):
            while not pid_file.exists() or not pid_file.read_text().strip():
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    given_back = await fleet.task("c")
    assert given_back.attempts[0].reason == queue_pb2.FAILURE_REASON_RELEASED


async def _until_there(fleet: Fleet, *names: str) -> None:
    async with asyncio.timeout(60):
        while True:
            listed = await fleet.coordinator.ListWorkers(pb.ListWorkersRequest(project=PROJECT))
            if {one.name for one in listed.workers} >= set(names):
                return
            await asyncio.sleep(0.01)
