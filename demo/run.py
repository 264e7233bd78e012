"""The main job, on a small project with scripted agents: `make demo`.

Runs `coord run` on a plan of 22 tasks with 4 workers, then checks by code what came of it: main is
green, everything has landed or is explained, and no line that an agent wrote is lost. Exit status 0
means that all of that holds.
"""

import argparse
import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from coord.v1 import ledger_pb2, queue_pb2
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_host.attach import Host, attach_or_start
from coord_host.places import Place, locate

from demo import verify

HERE = Path(__file__).parent
AGENT = shlex.join([sys.executable, str(HERE / "agent.py")])
CHECK = shlex.join([sys.executable, *verify.CHECK])
NANOS = 10**9
PLAN = HERE / "plan.toml"
# How tasks end, those that are not to land, and what is to happen on the way to the others.
DONE = ("COMPLETE", "UNSPECIFIED")
ENDS = {"rewrite": ("FAILED", "OUT_OF_BUDGET"), "rewrite-notes": ("ABORTED", "DEPENDENCY_FAILED")}
DETOURS = [
    ({"shout", "whisper"}, "CONFLICT", "the second to edit a line was told of the first"),
    ({"strict"}, "CHECK_FAILED", "a change that broke the tests was sent back"),
    ({"histogram"}, "AGENT_CRASHED", "an agent died halfway"),
    ({"rewrite"}, "OUT_OF_BUDGET", "an agent that passed its budget was stopped"),
]
OVERSPENT_MAX = 0.15


@dataclass(frozen=True)
class Outcome:
    """How a task has ended."""

    task_id: str
    state: str
    reason: str
    message: str
    token: int
    ways: tuple[str, ...]
    cost: float


def main() -> int:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="coord-demo-"))
    # Below the folder, so that the demo leaves nothing behind.
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    journal = folder / "journal"
    os.environ["DEMO_JOURNAL"] = str(journal)
    repo = make_repository(folder / "textkit")
    begin = time.monotonic()
    status = _coord_run(repo, options.workers)
    seconds = time.monotonic() - begin
    place = locate(repo)
    outcomes = asyncio.run(_outcomes(place))
    completed = {one.task_id: one.token for one in outcomes if one.state == "COMPLETE"}
    problems = _unexpected(outcomes) + verify.problems(repo, place.state, journal, completed)
    landed = len(verify.landed(repo))
    _print_summary(outcomes, problems, landed, seconds, journal)
    if options.keep or problems:
        print(f"The project and Coord's state are in {folder} (coord run: exit status {status}).")
    else:
        shutil.rmtree(folder)
        print("The report was removed with the project; --keep leaves both there.")
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=4, help="how many; default 4")
    parser.add_argument("--keep", action="store_true", help="keep the project and the state")
    return parser.parse_args()


def make_repository(repo: Path) -> Path:
    shutil.copytree(HERE / "project", repo, ignore=shutil.ignore_patterns("__pycache__"))
    author = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        [*author, "commit", "--quiet", "--message=Begin textkit"],
    ):
        subprocess.run(["git", "-C", str(repo), *arguments], check=True)
    return repo


def _coord_run(repo: Path, workers: int) -> int:
    command = [str(Path(sys.executable).with_name("coord")), "run", str(PLAN)]
    command += ["--repo", str(repo), "--workers", str(workers)]
    command += ["--agent", AGENT, "--check", CHECK]
    return subprocess.run(command, check=False).returncode


async def _outcomes(place: Place) -> list[Outcome]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with attach_or_start(place, {}) as host:
        stub = QueueServiceStub(host.channel("queue"))
        request = queue_pb2.ListTasksRequest(project=place.project, page_size=1_000)
        listed = (await stub.ListTasks(request)).tasks
        return [await _outcome(host, task.spec.id) for task in listed]


async def _outcome(host: Host, task_id: str) -> Outcome:
    project = host.place.project
    queue = QueueServiceStub(host.channel("queue"))
    task = (await queue.GetTask(queue_pb2.GetTaskRequest(project=project, task_id=task_id))).task
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_TASK, id=task_id)
    ledger = LedgerServiceStub(host.channel("ledger"))
    request = ledger_pb2.GetBalanceRequest(project=project, scope=scope)
    posted = (await ledger.GetBalance(request)).balance.posted
    return Outcome(
        task_id,
        queue_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_"),
        _reason(task.reason),
        task.message,
        task.attempts[-1].fencing_token if task.attempts else 0,
        tuple(_reason(attempt.reason) for attempt in task.attempts),
        posted.nanos / NANOS,
    )


def _reason(reason: "queue_pb2.FailureReason") -> str:
    return queue_pb2.FailureReason.Name(reason).removeprefix("FAILURE_REASON_")


def _unexpected(outcomes: list[Outcome]) -> list[str]:
    problems = []
    for one in outcomes:
        if (one.state, one.reason) != ENDS.get(one.task_id, DONE):
            problems.append(f"{one.task_id} ended {one.state}: {one.reason} {one.message}")
        if one.state != "COMPLETE" and not one.message:
            problems.append(f"{one.task_id} ended {one.state}, and nobody says why")
        if one.task_id == "rewrite" and one.cost > 0.20 + OVERSPENT_MAX:
            problems.append(f"{one.task_id} has cost ${one.cost:.2f}")
    for tasks, reason, story in DETOURS:
        if not any(one.task_id in tasks and reason in one.ways for one in outcomes):
            problems.append(f"it did not happen that {story}")
    return problems


def _print_summary(
    outcomes: list[Outcome], problems: list[str], landed: int, seconds: float, journal: Path
) -> None:
    attempts = sum(len(one.ways) for one in outcomes)
    cost = sum(one.cost for one in outcomes)
    print(f"\n{landed} of {len(outcomes)} tasks have landed, in {attempts} attempts,", end=" ")
    print(f"{seconds:.0f} s and ${cost:.2f}. On the way:")
    for tasks, reason, story in DETOURS:
        if any(one.task_id in tasks and reason in one.ways for one in outcomes):
            print(f"  - {story} ({' or '.join(sorted(tasks))})")
    for one in outcomes:
        if one.state != "COMPLETE":
            print(f"  - {one.task_id}: {one.state}, {one.reason}: {one.message}")
    if problems:
        print("What should not be so:")
        print("\n".join(f"  - {problem}" for problem in problems))
    else:
        print(
            f"Main is green; all {verify.lines_written(journal)} lines that agents wrote are kept."
        )


if __name__ == "__main__":
    sys.exit(main())
