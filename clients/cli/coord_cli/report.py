"""What came of a run in full: every attempt, every check."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2, queue_pb2

from coord_cli.check_runs import last_judgement
from coord_cli.command import Services
from coord_cli.output import failure_name
from coord_cli.summary import Summary, TaskLine, entries_of

_AT_ONCE = 64


@dataclass(frozen=True)
class CheckLine:
    """One run of the check. `output` is the end of what it printed."""

    passed: bool
    exit_status: int
    elapsed_ns: int
    output: str


@dataclass(frozen=True)
class AttemptLine:
    """One attempt at a task.

    Attributes:
        number: 1 for the first.
        worker: Who had it.
        result: `landed`, `no change`, `open`, or why it failed.
        message: What was said of it.
        elapsed_ns: How long it had the task, the wait for its landing included.
        cost_nanos: What it has cost, in billionths of a dollar; None where the ledger cannot tell.
        commit: The commit that it landed; empty for none.
        kept: The ref that keeps its work; empty where it left none.
        checks: The runs of the check that have decided on its change.
    """

    number: int
    worker: str
    result: str
    message: str
    elapsed_ns: int
    cost_nanos: int | None
    commit: str
    kept: str
    checks: Sequence[CheckLine]


@dataclass(frozen=True)
class TaskReport:
    """One task, with its attempts, oldest first."""

    task: TaskLine
    attempts: Sequence[AttemptLine]


@dataclass(frozen=True)
class Report:
    """A run, with its tasks."""

    summary: Summary
    tasks: Sequence[TaskReport]


async def collect(services: Services, summary: Summary) -> Report:
    """Ask the services for all that is in a report."""
    costs: dict[str, int] = defaultdict(int)
    for entry in await entries_of(services, summary.run):
        costs[entry.reservation_id] += entry.amount.nanos
    few = asyncio.Semaphore(_AT_ONCE)

    async def report(task: TaskLine) -> TaskReport:
        async with few:
            return TaskReport(task, await _attempts(services, task, costs))

    return Report(summary, await asyncio.gather(*map(report, summary.tasks)))


async def _attempts(services: Services, task: TaskLine, costs: dict[str, int]) -> list[AttemptLine]:
    if not task.attempts:
        return []
    request = queue_pb2.GetTaskRequest(project=services.project, task_id=task.id)
    found = (await services.queue.GetTask(request)).task
    lines = []
    for attempt in found.attempts:
        change = await change_of(services, task.id, attempt)
        alone = task.cost_nanos if len(found.attempts) == 1 else None
        lines.append(
            _line(found, attempt, change, costs.get(f"{task.id}@{attempt.fencing_token}", alone))
        )
    return lines


async def change_of(
    services: Services, task_id: str, attempt: queue_pb2.Attempt
) -> integrator_pb2.Change:
    """Return an attempt's change; an empty one where it has not come to that."""
    change_id = f"{task_id}@{attempt.fencing_token}"
    request = integrator_pb2.GetChangeRequest(project=services.project, change_id=change_id)
    try:
        return (await services.integrator.GetChange(request)).change
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return integrator_pb2.Change()


def _line(
    task: queue_pb2.Task,
    attempt: queue_pb2.Attempt,
    change: integrator_pb2.Change,
    cost_nanos: int | None,
) -> AttemptLine:
    begun_ns = timestamp_ns(attempt.started_at) or timestamp_ns(attempt.assigned_at)
    ended_ns = timestamp_ns(attempt.ended_at) or begun_ns
    return AttemptLine(
        number=attempt.number,
        worker=attempt.worker,
        result=_result(task, attempt, change),
        message=attempt.message or change.message,
        elapsed_ns=max(ended_ns - begun_ns, 0),
        cost_nanos=cost_nanos,
        commit=change.landed_commit,
        kept=change.wip_ref,
        checks=[_check(run) for run in last_judgement(change.runs)],
    )


def _result(task: queue_pb2.Task, attempt: queue_pb2.Attempt, change: integrator_pb2.Change) -> str:
    if attempt.reason:
        return failure_name(attempt.reason)
    if not attempt.HasField("ended_at"):
        return "open"
    complete = task.state == queue_pb2.TASK_STATE_COMPLETE
    return "landed" if change.landed_commit else "no change" if complete else "ended"


def _check(run: integrator_pb2.CheckRun) -> CheckLine:
    elapsed_ns = timestamp_ns(run.ended_at) - timestamp_ns(run.started_at)
    return CheckLine(run.passed, run.exit_status, max(elapsed_ns, 0), run.output)
