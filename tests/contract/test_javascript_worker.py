"""A worker in another language, written from the contract alone, does a task."""

import asyncio
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from coord.v1 import common_pb2, ledger_pb2, queue_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_host.host import Embedded, start
from coord_host.places import locate

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parent / "javascript" / "worker.js"
TIMEOUT_S = 60


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The worker's packages, installed once into the user's cache."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the JavaScript worker cannot run")
    package = WORKER.with_name("package.json")
    version = hashlib.sha256(package.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "coord-tests" / f"javascript-{version}"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(package, folder)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT_S)
        (folder / "installed").touch()
    return folder / "node_modules"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / "README").write_text("A project.\n")
    git(path, "add", "README")
    git(path, "commit", "--quiet", "--message=Begin")
    return path


def git(repo: Path, *args: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    command = ["git", "-C", str(repo), *author, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def add_task(host: Embedded) -> None:
    task = queue_pb2.TaskSpec(id="greet", title="Greet", prompt="Hello from JavaScript")
    stub = QueueServiceStub(host.channel("queue"))
    await stub.AddTasks(queue_pb2.AddTasksRequest(project=host.place.project, tasks=[task]))


async def run_worker(host: Embedded, node_modules: Path) -> None:
    environment = os.environ | {
        "NODE_PATH": str(node_modules),
        "COORD_ADDRESS": host.addresses["coordinator"],
        "COORD_TOKEN": host.mint_worker("js1"),
        "COORD_PROJECT": host.place.project,
        "COORD_WORKER": "js1",
        "COORD_PROTO": str(ROOT / "proto"),
    }
    process = await asyncio.create_subprocess_exec("node", str(WORKER), env=environment)
    try:
        assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def completed(host: Embedded) -> None:
    """Wait until the task is COMPLETE: its change has landed."""
    stub = QueueServiceStub(host.channel("queue"))
    request = queue_pb2.WatchQueueEventsRequest(project=host.place.project)
    watch = stub.WatchQueueEvents(request)
    async with asyncio.timeout(TIMEOUT_S):
        async for response in watch:
            for event in response.events:
                assert event.to_state != queue_pb2.TASK_STATE_FAILED
                if event.to_state == queue_pb2.TASK_STATE_COMPLETE:
                    watch.cancel()
                    return


async def spent(host: Embedded) -> common_pb2.Money:
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id="greet")
    stub = LedgerServiceStub(host.channel("ledger"))
    request = ledger_pb2.GetBalanceRequest(project=host.place.project, scope=scope)
    return (await stub.GetBalance(request)).balance.posted


async def test_a_worker_in_javascript_does_a_task_and_its_change_lands(
    node_modules: Path, repo: Path, tmp_path: Path
) -> None:
    check = "grep -q 'Hello from JavaScript' javascript.txt"
    async with start(locate(repo, tmp_path / "state"), {"integrator": {"check": check}}) as host:
        await add_task(host)
        await run_worker(host, node_modules)
        await completed(host)
        assert await spent(host) == common_pb2.Money(currency="USD", nanos=20_000_000)
    landed = git(repo, "show", "coord/main:javascript.txt")
    assert landed == "Hello from JavaScript\n"


def test_the_worker_is_short() -> None:
    assert len(WORKER.read_text().splitlines()) < 80
