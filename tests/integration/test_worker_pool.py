import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from coord.errors import CoordError
from coord.v1 import coordinator_pb2, integrator_pb2, queue_pb2
from coord_worker.config import WorkerConfig, proof_of_work
from coord_worker.names import claim
from coord_worker.pool import PoolSettings, Restarts, WorkerPool, WorkerState, worker_names

from tests.integration.fake_coordinator import FakeCoordinator, fake_coordinator
from tests.integration.waiting import gone, until

QUICK = Restarts(backoff_initial_s=0.01, backoff_max_s=0.02, crashes_max=3)


def assign(fake: FakeCoordinator, worktree: Path, token: int = 1) -> None:
    lease = queue_pb2.Lease(
        spec=queue_pb2.TaskSpec(id="t1"),
        attempt=queue_pb2.Attempt(number=token, fencing_token=token),
    )
    place = integrator_pb2.Worktree(path=str(worktree))
    fake.send(assigned=coordinator_pb2.Assigned(lease=lease, worktree=place))


@asynccontextmanager
async def pool(fake: FakeCoordinator, folder: Path, agent: str) -> AsyncIterator[WorkerPool]:
    config = WorkerConfig(folder=folder / "state", agent=agent, stop_grace_s=0.5)
    settings = PoolSettings(fake.address, "p", lambda name: f"token of {name}", QUICK)
    workers = WorkerPool({"w1": config}, settings)
    workers.start()
    try:
        yield workers
    finally:
        await workers.stop(5)


def worker_pids() -> list[int]:
    children = psutil.Process().children()
    return [child.pid for child in children if "coord_worker" in child.cmdline()]


async def test_a_worker_has_its_own_token_and_session_and_stops_when_told(tmp_path: Path) -> None:
    async with fake_coordinator() as fake:
        async with pool(fake, tmp_path, "true") as workers:
            await fake.until_hellos()
            (pid,) = worker_pids()
            assert os.getsid(pid) == pid
        assert fake.tokens == ["Bearer token of w1"]
        assert workers.states == {"w1": WorkerState.LEFT}
        assert gone(pid)


async def test_a_killed_worker_comes_back_and_ends_what_it_had_left(tmp_path: Path) -> None:
    agent = """echo '{"cost_usd": 0.4}' >>$COORD_COST_FILE; echo $$ >pid; sleep 100"""
    async with fake_coordinator() as fake, pool(fake, tmp_path, agent):
        await fake.until_hellos()
        assign(fake, tmp_path)
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        os.kill(worker_pids()[0], signal.SIGKILL)
        await fake.until_hellos(2)
        assert gone(pid)
        (failed,) = await fake.until_said("failed")
        first, second = fake.hellos
    assert first.worker == second.worker == "w1"
    assert first.instance != second.instance
    assert [held.fencing_token for held in second.held] == [1]
    assert (failed.attempt, failed.reason) == (
        second.held[0],
        queue_pb2.FAILURE_REASON_WORKER_LOST,
    )
    assert {spent.entry_id for spent in fake.said("spent")} == {"t1/1/1"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a subreaper")
async def test_what_an_agent_hides_is_ended_and_reaped(tmp_path: Path) -> None:
    agent = """
        (env -i sleep 0.01 &)
        (env -i setsid sh -c 'echo $$ >pid; sleep 100; true' >/dev/null 2>&1 &)
        while ! test -s pid; do sleep 0.01; done
    """
    async with fake_coordinator() as fake, pool(fake, tmp_path, agent):
        await fake.until_hellos()
        assign(fake, tmp_path)
        await fake.until_said("complete")
        assert gone(int((tmp_path / "pid").read_text()))
        (worker,) = worker_pids()
        assert not psutil.Process(worker).children()


async def test_a_worker_that_keeps_crashing_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "state/workers").mkdir(parents=True)
    async with fake_coordinator() as fake:
        config = WorkerConfig(folder=tmp_path / "state", agent="claude", agent_args=("--x",))
        broken = PoolSettings(fake.address, "", lambda _: "token", QUICK)
        workers = WorkerPool({"w1": config}, broken)
        workers.start()
        await asyncio.wait_for(workers.wait(), 60)
    assert workers.states == {"w1": WorkerState.GIVEN_UP}
    assert "set COORD_PROJECT" in workers.errors["w1"]


async def test_a_worker_that_dies_again_and_again_is_given_up_in_a_sentence(tmp_path: Path) -> None:
    async with fake_coordinator() as fake, pool(fake, tmp_path, "true") as workers:
        for lives in range(1, QUICK.crashes_max + 1):
            await fake.until_hellos(lives)
            os.kill(worker_pids()[0], signal.SIGKILL)
        await asyncio.wait_for(workers.wait(), 60)
    assert "its process ended by SIGKILL, 3 times before any task was done" in workers.errors["w1"]


async def test_a_worker_that_does_tasks_survives_others_that_kill_it(tmp_path: Path) -> None:
    async with fake_coordinator() as fake, pool(fake, tmp_path, "true") as workers:
        lives = 0
        for token in (1, 2):
            for _ in range(QUICK.crashes_max - 2):
                lives += 1
                await fake.until_hellos(lives)
                assert workers.states == {"w1": WorkerState.RUNNING}
                os.kill(worker_pids()[0], signal.SIGKILL)
            lives += 1
            await fake.until_hellos(lives)
            assign(fake, tmp_path, token)
            await until(proof_of_work(tmp_path / "state", "w1").exists)
            os.kill(worker_pids()[0], signal.SIGKILL)
        await fake.until_hellos(lives + 1)
        assert workers.states == {"w1": WorkerState.RUNNING}


async def test_a_refused_worker_is_not_started_again(tmp_path: Path) -> None:
    refusal = CoordError(grpc.StatusCode.PERMISSION_DENIED, "OTHER_WORKER", "not yours")
    async with fake_coordinator() as fake:
        fake.refusals = [refusal]
        async with pool(fake, tmp_path, "true") as workers:
            await asyncio.wait_for(workers.wait(), 60)
    assert "OTHER_WORKER" in workers.errors["w1"]
    assert len(fake.tokens) == 1


async def test_a_crash_is_answered_by_a_bounded_number_of_restarts(tmp_path: Path) -> None:
    async with fake_coordinator() as fake, pool(fake, tmp_path, "true") as workers:
        for count in range(1, QUICK.crashes_max + 1):
            await fake.until_hellos(count)
            await until(worker_pids)
            os.kill(worker_pids()[0], signal.SIGKILL)
        await asyncio.wait_for(workers.wait(), 60)
        assert workers.states == {"w1": WorkerState.GIVEN_UP}
        assert len(fake.hellos) == QUICK.crashes_max


POOL = """
import asyncio, json, sys
from pathlib import Path
from coord_worker.config import WorkerConfig, proof_of_work
from coord_worker.pool import PoolSettings, WorkerPool

async def main():
    address, folder = sys.argv[1:]
    config = WorkerConfig(
        folder=Path(folder), agent="echo $$ >pid; trap '' TERM; sleep 100; true", stop_grace_s=0.5
    )
    pool = WorkerPool({"w1": config}, PoolSettings(address, "p", lambda name: "token"))
    pool.start()
    await pool.wait()

asyncio.run(main())
"""


async def test_when_the_pool_is_killed_its_workers_and_agents_end(tmp_path: Path) -> None:
    async with fake_coordinator() as fake:
        arguments = [sys.executable, "-c", POOL, fake.address, str(tmp_path / "state")]
        parent = await asyncio.create_subprocess_exec(*arguments)
        try:
            await fake.until_hellos()
            assign(fake, tmp_path)
            await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            (worker,) = psutil.Process(parent.pid).children()
        finally:
            parent.kill()
            await parent.wait()
        agent = int((tmp_path / "pid").read_text())
        await until(lambda: gone(agent) and gone(worker.pid))
        assert fake.said("released")


def test_a_name_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    def free(*names: str) -> bool:
        kept = claim(tmp_path, names)
        with kept or contextlib.nullcontext():
            return kept is not None

    first = claim(tmp_path, ["w1", "w2"])
    assert first is not None
    with first:
        assert not free("w3", "w2")
        assert free("w3")
    assert free("w2")


def test_workers_are_named_after_their_profiles() -> None:
    assert worker_names(["", "", ""]) == ["w1", "w2", "w3"]
    assert worker_names(["coder", "tester", "coder"], "b-") == [
        "b-coder-1",
        "b-tester-1",
        "b-coder-2",
    ]


def test_a_configuration_survives_the_way_to_the_worker(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "folder": tmp_path,
        "agent": "claude",
        "agent_args": ("--model", "x"),
        "capabilities": ("code",),
        "preferences": {"code": 1.0},
        "buckets": ("anthropic",),
    }
    config = WorkerConfig(**fields)
    config.write(tmp_path / "config.json")
    assert WorkerConfig.load(tmp_path / "config.json") == config
    assert json.loads((tmp_path / "config.json").read_text())["profile"] == ""
