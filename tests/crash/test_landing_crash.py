"""Whatever step a kill comes at, each change lands once and the user's checkout is mended."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from coord.client import connect
from coord.v1 import integrator_pb2, queue_pb2
from coord_integrator import checkout
from coord_integrator.landing import Lander
from coord_integrator.names import LANDING
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.sqlite import SqliteIntegratorStore
from coord_integrator.worktrees import Worktrees
from coord_queue.service import QueueService
from coord_runtime.node import Node, NodePlan
from coord_runtime.tokens import Kind, Principal

from tests.crash import failing_integrator
from tests.crash.failing_integrator import moves_to
from tests.integrator_rig import PROJECT, Rig, git, make_repository, running, until, write

LANDED = integrator_pb2.CHANGE_STATE_LANDED
COMPLETE = queue_pb2.TASK_STATE_COMPLETE


# Beside those of `failing_integrator`, at which a process of its own is killed.
STEPS: list[tuple[str, Any, str, Callable[..., bool]]] = [
    ("work kept", Worktrees, "keep", lambda *_: True),
    ("change recorded", SqliteIntegratorStore, "add_change", lambda *_: True),
    ("lease moved", QueueLink, "submit", lambda *_: True),
    ("lease move recorded", SqliteIntegratorStore, "hand_over_change", lambda *_: True),
    ("checking", SqliteIntegratorStore, "move_changes", moves_to(2)),
    ("run recorded", SqliteIntegratorStore, "add_run", lambda *_: True),
    ("landing", SqliteIntegratorStore, "move_changes", moves_to(3)),
    ("lease checked", QueueLink, "renew", lambda _, attempts: len(attempts) > 0),
    ("objects handed over", Repository, "hand_over", lambda *all_: all_[-1] == LANDING),
    ("landed", SqliteIntegratorStore, "move_changes", moves_to(4)),
    ("bringing along", Lander, "bring_along", lambda *_: True),
    ("checkout recorded", SqliteIntegratorStore, "begin_checkout_move", lambda *_: True),
    ("checkout settled", checkout, "_settle", lambda *_: True),
    ("checkout move ended", SqliteIntegratorStore, "end_checkout_move", lambda *_: True),
    ("report dropped", SqliteIntegratorStore, "drop_reports", lambda *_: True),
]


def freeze_at(
    monkeypatch: pytest.MonkeyPatch, step: tuple[str, Any, str, Callable[..., bool]]
) -> asyncio.Event:
    """Let the first such call never return after its effect; tell when it is there."""
    _, owner, name, applies = step
    original, frozen = getattr(owner, name), asyncio.Event()

    async def deadly(*arguments: Any, **options: Any) -> Any:
        if frozen.is_set() or not applies(*arguments):
            return await original(*arguments, **options)
        await original(*arguments, **options)
        frozen.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(owner, name, deadly)
    return frozen


def landings(repo: Path, branch: str) -> list[str]:
    """Return the tasks whose landing a branch holds."""
    trailers = "--format=%(trailers:key=Coord-Task,valueonly,separator=%x2C)"
    return sorted(task for task in git(repo, "log", trailers, branch).split("\n") if task)


@pytest.mark.parametrize("step", STEPS, ids=[step[0] for step in STEPS])
async def test_a_change_lands_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[str, Any, str, Callable[..., bool]],
) -> None:
    repo = make_repository(tmp_path / "repo")
    rig = Rig(repo, tmp_path / "state", {"check": "test -e a.txt"})
    async with running(rig):
        write(await rig.begin("w1", "t"), {"a.txt": "changed\n", "b.txt": "b\n"})
        frozen = freeze_at(monkeypatch, step)
        submitting = asyncio.ensure_future(rig.submit("w1", "t"))
        await asyncio.wait_for(frozen.wait(), 60)
        submitting.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await submitting
        await rig.restart()
        await rig.submit("w1", "t")
        change = await rig.ended("t")
        await rig.reported("t", COMPLETE)

        async def is_along() -> bool:
            at_tip = git(repo, "rev-parse", "HEAD") == change.landed_commit
            return at_tip and not git(repo, "status", "--porcelain")

        await until(is_along)

    assert change.state == LANDED
    assert landings(repo, "main") == ["t"]
    assert not (repo / ".git" / "index.lock").exists()
    assert (repo / "a.txt").read_text() == "changed\n"


@contextlib.asynccontextmanager
async def integrator_process(
    tmp_path: Path, queue: Node, *program: str, check: str = "sleep 0.05"
) -> AsyncIterator[tuple[asyncio.subprocess.Process, grpc.aio.Channel]]:
    """Run the integrator as a process of its own, and end it by SIGKILL."""
    settings = {"repo": tmp_path / "repo", "check": check, "poll_s": 0.05, "renew_s": 0.5}
    flags = [f"--set=integrator.{key}={value}" for key, value in settings.items()]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *(program or ("coord_integrator",)), "--project", PROJECT),
        *("--state", str(tmp_path / "state"), "--peer", f"queue={queue.address}", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "COORD_NODE_METRICS": ""},
    )
    try:
        assert process.stdout is not None
        address = json.loads(await process.stdout.readline())["address"]
        token = queue.mint.mint(Principal(Kind.OPERATOR, "operator", PROJECT))
        async with connect(address, token) as channel:
            yield process, channel
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.mark.parametrize("seed", [1])
async def test_changes_land_once_each_under_random_kills(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    repo = make_repository(tmp_path / "repo")
    # Nobody renews the workers' leases: they are to last, however slow the machine is.
    flags: dict[str, dict[str, Any]] = {"node": {"metrics": ""}, "queue": {"lease_s": 600.0}}
    queue = await Node.start(NodePlan([QueueService], PROJECT, tmp_path / "state", flags=flags))
    token = queue.mint.mint(Principal(Kind.OPERATOR, "operator", PROJECT))
    rig = Rig(repo, tmp_path / "state", node=queue)
    queue_channel = rig.queue_channel = connect(queue.address, token)
    tasks = [f"t{number}" for number in range(4)]
    try:
        kills = 0
        while True:
            async with integrator_process(tmp_path, queue) as (_, channel):
                rig.channel = channel
                last = kills >= 6
                try:
                    async with asyncio.timeout(80 if last else chance.uniform(0.1, 1.2)):
                        await work_through(rig, tasks)
                    break
                except TimeoutError:
                    assert not last
                    kills += 1
        done = [(await rig.task(task)).state for task in tasks]
    finally:
        await queue_channel.close()
        await queue.stop()

    assert kills > 0
    assert done == [COMPLETE] * len(tasks)
    assert landings(repo, "coord/main") == tasks


async def work_through(rig: Rig, tasks: list[str]) -> None:
    """Do all tasks at once, each by a worker of its own, wherever an earlier run has stopped."""

    async def one(task: str) -> None:
        worker = f"w-{task}"
        if task not in rig.tokens:
            await rig.add(task)
            await rig.lease(worker, task)
        if (await rig.task(task)).state != queue_pb2.TASK_STATE_MERGING:
            write(await rig.setup(worker, task), {f"{task}.txt": "x\n"})
        await rig.submit(worker, task)
        await rig.reported(task, COMPLETE)

    await asyncio.gather(*(one(task) for task in tasks))


async def test_killed_at_each_step_in_turn_changes_land_once_each_and_nothing_else(
    tmp_path: Path,
) -> None:
    """A process of its own is killed at one step after the other, two changes in its hands."""
    repo = make_repository(tmp_path / "repo")
    plan = NodePlan([QueueService], PROJECT, tmp_path / "state", flags={"node": {"metrics": ""}})
    queue = await Node.start(plan)
    token = queue.mint.mint(Principal(Kind.OPERATOR, "operator", PROJECT))
    rig = Rig(repo, tmp_path / "state", node=queue)
    queue_channel = rig.queue_channel = connect(queue.address, token)
    tasks: list[str] = []
    try:
        for number, step in enumerate(failing_integrator.STEPS):
            head = git(repo, "rev-parse", "HEAD")
            tasks += [f"t{number}", f"bad{number}" if "hand-back" in step else f"u{number}"]
            program = ("tests.crash.failing_integrator", step)
            async with integrator_process(tmp_path, queue, *program, check=RED_IF_BAD) as started:
                process, rig.channel = started
                await submit_all(rig, tasks)
                assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
            assert git(repo, "rev-parse", "HEAD") in {head, git(repo, "rev-parse", "coord/main")}
        async with integrator_process(tmp_path, queue, check=RED_IF_BAD) as (_, rig.channel):
            await submit_all(rig, tasks)
            for task in tasks:
                ended = queue_pb2.TASK_STATE_PENDING if task.startswith("bad") else COMPLETE
                await rig.reported(task, ended)
            await until_along(repo)
    finally:
        await queue_channel.close()
        await queue.stop()

    assert landings(repo, "main") == sorted(task for task in tasks if not task.startswith("bad"))
    assert not (repo / ".git" / "index.lock").exists()


RED_IF_BAD = "sleep 0.2; ! ls | grep -q bad"


async def submit_all(rig: Rig, tasks: list[str]) -> None:
    """Submit a change of each task that has none yet, as far as the integrator lives."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        for task in tasks:
            if task not in rig.tokens:
                await rig.add(task)
                await rig.lease(f"w-{task}", task)
            if (await rig.task(task)).state == queue_pb2.TASK_STATE_ASSIGNED:
                write(await rig.setup(f"w-{task}", task), {f"{task}.txt": "x\n"})
                await rig.submit(f"w-{task}", task)


async def until_along(repo: Path) -> None:
    """Wait until the checkout is where everything has landed."""

    async def is_along() -> bool:
        at_tip = git(repo, "rev-parse", "HEAD") == git(repo, "rev-parse", "coord/main")
        return at_tip and not git(repo, "status", "--porcelain")

    await until(is_along)
