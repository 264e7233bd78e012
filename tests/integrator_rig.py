"""A real repository, a real queue and a real integrator, for tests."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from coord.client import connect
from coord.v1 import common_pb2, integrator_pb2, integrator_pb2_grpc, queue_pb2, queue_pb2_grpc
from coord_integrator.service import IntegratorService
from coord_queue.service import QueueService
from coord_runtime.node import Node, NodePlan
from coord_runtime.tokens import Kind, Principal

PROJECT = "demo"
CHECK = "test ! -e bad.txt"
FINAL = (
    integrator_pb2.CHANGE_STATE_LANDED,
    integrator_pb2.CHANGE_STATE_REJECTED,
    integrator_pb2.CHANGE_STATE_EMPTY,
    integrator_pb2.CHANGE_STATE_STALE,
)


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    """Run git and return what it prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment = {**kept, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        ("git", *arguments),
        cwd=folder,
        env=environment,
        input=stdin,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Make a repository with one commit on main."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "User")
    git(folder, "config", "user.email", "user@example.org")
    return commit(folder, files or {"a.txt": "one\ntwo\nthree\n"})


def commit(folder: Path, files: dict[str, str], message: str = "work") -> Path:
    """Write files and commit them."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return what is in each file of a checkout, its index included."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    files.append(folder / ".git" / "index")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass
class Rig:
    """A repository and the services that work on it."""

    repo: Path
    state: Path
    settings: dict[str, Any] = field(default_factory=dict)
    lease_s: float = 30.0
    node: Node | None = None
    channel: grpc.aio.Channel | None = None
    queue_channel: grpc.aio.Channel | None = None
    tokens: dict[str, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Start the services, with the state that they have left."""
        settings = {"repo": str(self.repo), "poll_s": 0.05, "renew_s": 0.2, **self.settings}
        plan = NodePlan(
            services=[QueueService, IntegratorService],
            project=PROJECT,
            state=self.state,
            flags={
                "integrator": settings,
                "queue": {"lease_s": self.lease_s},
                "node": {"metrics": ""},
            },
        )
        self.node = await Node.start(plan)
        principal = Principal(Kind.OPERATOR, "operator", PROJECT)
        self.channel = connect(self.node.address, self.node.mint.mint(principal))

    async def stop(self) -> None:
        """Stop the services."""
        if self.channel is not None:
            await self.channel.close()
        if self.node is not None:
            await self.node.stop()

    async def restart(self) -> None:
        """Stop the services without a drain, and start them on what they have left."""
        await self.stop()
        await self.start()

    @property
    def integrator(self) -> "integrator_pb2_grpc.IntegratorServiceAsyncStub":
        """The integrator's stub."""
        assert self.channel is not None
        return integrator_pb2_grpc.IntegratorServiceStub(self.channel)

    @property
    def queue(self) -> "queue_pb2_grpc.QueueServiceAsyncStub":
        """The queue's stub."""
        channel = self.queue_channel or self.channel
        assert channel is not None
        return queue_pb2_grpc.QueueServiceStub(channel)

    async def begin(self, worker: str, task: str) -> Path:
        """Give a task to a worker, new or again, and set up its worktree."""
        if task not in self.tokens:
            await self.add(task)
        await self.lease(worker, task)
        return await self.setup(worker, task)

    async def add(self, task: str) -> None:
        """Add a task."""
        policy = queue_pb2.RetryPolicy(max_attempts=3)
        policy.initial_backoff.FromMilliseconds(1)
        spec = queue_pb2.TaskSpec(id=task, prompt="do it", retry_policy=policy)
        await self.queue.AddTasks(queue_pb2.AddTasksRequest(project=PROJECT, tasks=[spec]))

    async def lease(self, worker: str, task: str) -> None:
        """Give a task to a worker as soon as it is ready."""
        request = queue_pb2.AssignTasksRequest(project=PROJECT, worker=worker, task_ids=[task])
        async with asyncio.timeout(60):
            while True:
                result = (await self.queue.AssignTasks(request)).results[0]
                if result.HasField("lease"):
                    break
                await asyncio.sleep(0.01)
        self.tokens[task] = result.lease.attempt.fencing_token

    async def release(self, task: str) -> None:
        """End the newest attempt at a task, as when its worker gives it back."""
        release = queue_pb2.Release(attempt=self.attempt(task))
        request = queue_pb2.ReleaseTasksRequest(project=PROJECT, releases=[release])
        await self.queue.ReleaseTasks(request)

    async def setup(self, worker: str, task: str) -> Path:
        """Set up the worktree for the newest attempt at a task."""
        request = integrator_pb2.SetupWorktreeRequest(
            project=PROJECT, worker=worker, attempt=self.attempt(task)
        )
        return Path((await self.integrator.SetupWorktree(request)).worktree.path)

    def attempt(self, task: str) -> common_pb2.AttemptRef:
        """Return the newest attempt at a task."""
        return common_pb2.AttemptRef(task_id=task, fencing_token=self.tokens[task])

    async def submit(self, worker: str, task: str, title: str = "") -> integrator_pb2.Change:
        """Submit what is in a worker's worktree."""
        request = integrator_pb2.SubmitChangeRequest(
            project=PROJECT, worker=worker, attempt=self.attempt(task), title=title or task
        )
        return (await self.integrator.SubmitChange(request)).change

    async def work(self, worker: str, task: str, files: dict[str, str]) -> integrator_pb2.Change:
        """Do a whole attempt: set up, write files, submit."""
        write(await self.begin(worker, task), files)
        return await self.submit(worker, task)

    async def snapshot(self, worker: str, *ended: str) -> integrator_pb2.Snapshot | None:
        """Snapshot a worktree, of which the attempts at some tasks have ended."""
        request = integrator_pb2.SnapshotWorktreeRequest(
            project=PROJECT, worker=worker, ended=[self.attempt(task) for task in ended]
        )
        answer = await self.integrator.SnapshotWorktree(request)
        return answer.snapshot if answer.HasField("snapshot") else None

    async def teardown(self, worker: str) -> integrator_pb2.Snapshot | None:
        """Remove a worktree."""
        request = integrator_pb2.TeardownWorktreeRequest(project=PROJECT, worker=worker)
        answer = await self.integrator.TeardownWorktree(request)
        return answer.snapshot if answer.HasField("snapshot") else None

    async def change(self, task: str) -> integrator_pb2.Change:
        """Return the change of the newest attempt at a task."""
        change_id = f"{task}@{self.tokens[task]}"
        request = integrator_pb2.GetChangeRequest(project=PROJECT, change_id=change_id)
        return (await self.integrator.GetChange(request)).change

    async def merge_queue(self) -> integrator_pb2.MergeQueue:
        """Return the state of the merge queue."""
        request = integrator_pb2.ListChangesRequest(project=PROJECT)
        return (await self.integrator.ListChanges(request)).merge_queue

    async def pause(self) -> None:
        """Let nothing land, as the operator."""
        await self.integrator.PauseMerging(integrator_pb2.PauseMergingRequest(project=PROJECT))

    async def resume(self) -> None:
        """Let changes land again."""
        await self.integrator.ResumeMerging(integrator_pb2.ResumeMergingRequest(project=PROJECT))

    async def paused(self, code: str) -> None:
        """Wait until merging is paused for a reason."""

        async def is_paused() -> bool:
            return (await self.merge_queue()).paused.code == code

        await until(is_paused)

    async def task(self, task: str) -> queue_pb2.Task:
        """Return a task."""
        request = queue_pb2.GetTaskRequest(project=PROJECT, task_id=task)
        return (await self.queue.GetTask(request)).task

    async def ended(self, task: str, timeout_s: float = 60) -> integrator_pb2.Change:
        """Wait until the change of a task has ended."""

        async def has_ended() -> bool:
            return (await self.change(task)).state in FINAL

        await until(has_ended, timeout_s)
        return await self.change(task)

    async def reported(self, task: str, state: int) -> queue_pb2.Task:
        """Wait until a task has a state."""

        async def has_state() -> bool:
            return (await self.task(task)).state == state

        await until(has_state)
        return await self.task(task)


async def until(condition: Callable[[], Any], timeout_s: float = 60) -> None:
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    """Run a rig's services."""
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


def rig_at(tmp_path: Path, check: str = CHECK, **settings: object) -> Rig:
    """Return a rig on a new repository, with a check."""
    repo = make_repository(tmp_path / "repo")
    return Rig(repo, tmp_path / "state", {"check": check, "target": "main", **settings})


def park(repo: Path) -> None:
    """Leave the target, so that no checkout has it."""
    git(repo, "checkout", "-q", "-b", "elsewhere")


async def until_at(repo: Path, name: str, commit_id: str) -> None:
    """Wait until a ref names a commit."""

    async def is_there() -> bool:
        return git(repo, "rev-parse", name) == commit_id

    await until(is_there)


async def until_clean(repo: Path) -> None:
    """Wait until index and files of a checkout are those of its HEAD."""

    async def is_clean() -> bool:
        return not git(repo, "status", "--porcelain", "--untracked-files=no")

    await until(is_clean)
