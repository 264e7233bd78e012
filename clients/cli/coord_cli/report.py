"""What came of a run in full: every attempt, every check."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2, ledger_pb2, queue_pb2

from coord_cli.check_runs import last_judgement
from coord_cli.command import Services
from coord_cli.kept_work import kept_ref, kept_work
from coord_cli.output import failure_name
from coord_cli.summary import Summary, TaskLine, entries_of

_AT_ONCE = 64
_WORKER = ledger_pb2.SCOPE_KIND_WORKER


@dataclass(frozen=True)
class CheckLine:
    """One run of the check.

    Attributes:
        passed: Whether it was green.
        of_target: Whether it was on the target alone; otherwise on the merged tree.
        others: The tasks whose changes were merged with this one. It may land though it was red
            together with them.
        exit_status: The command's; -1 where it was stopped by its timeout.
        elapsed_ns: How long it took.
        output: The end of what it printed.
    """

    passed: bool
    of_target: bool
    others: Sequence[str]
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
        cost_nanos: What it has cost, in billionths of a dollar.
        commit: The commit that it landed; empty for none.
        kept: The ref that keeps its work; empty where it left none.
        checks: The runs of the check that have decided on its change.
    """

    number: int
    worker: str
    result: str
    message: str
    elapsed_ns: int
    cost_nanos: int
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


async def collect(services: Services, summary: Summary, repo: Path | None) -> Report:
    """Ask the services, and git in the repository, for all that is in a report."""
    entries: dict[str, list[ledger_pb2.LedgerEntry]] = defaultdict(list)
    for entry in await entries_of(services, summary.run):
        entries[_scope(entry, ledger_pb2.SCOPE_KIND_TASK)].append(entry)
    kept = await asyncio.to_thread(kept_work, repo)
    few = asyncio.Semaphore(_AT_ONCE)

    async def report(task: TaskLine) -> TaskReport:
        async with few:
            return TaskReport(task, await _attempts(services, task, entries[task.id], kept))

    return Report(summary, await asyncio.gather(*map(report, summary.tasks)))


async def _attempts(
    services: Services,
    task: TaskLine,
    entries: Sequence[ledger_pb2.LedgerEntry],
    kept: Mapping[tuple[str, int], str],
) -> list[AttemptLine]:
    if not task.attempts:
        return []
    request = queue_pb2.GetTaskRequest(project=services.project, task_id=task.id)
    found = (await services.queue.GetTask(request)).task
    costs = attempt_costs(found.attempts, entries)
    lines = []
    for attempt in found.attempts:
        change = await change_of(services, task.id, attempt)
        line = _line(found, attempt, change, costs[attempt.number])
        lines.append(replace(line, kept=change.wip_ref or kept_ref(kept, attempt)))
    return lines


def attempt_costs(
    attempts: Sequence[queue_pb2.Attempt], entries: Iterable[ledger_pb2.LedgerEntry]
) -> Counter[int]:
    """Return what each attempt at a task has cost, by its number, in billionths of a dollar.

    What a worker has spent is that of the attempt that it was given last: a killed one's costs are
    booked before the next begins.
    """
    costs: Counter[int] = Counter()
    for entry in entries:
        posted_ns, worker = timestamp_ns(entry.posted_at), _scope(entry, _WORKER)
        before = [one for one in attempts if timestamp_ns(one.assigned_at) <= posted_ns]
        mine = [one for one in before if one.worker == worker] or before or list(attempts)
        costs[mine[-1].number] += entry.amount.nanos
    return costs


def _scope(entry: ledger_pb2.LedgerEntry, kind: ledger_pb2.ScopeKind) -> str:
    return next((scope.id for scope in entry.scopes if scope.kind == kind), "")


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
    cost_nanos: int,
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
        checks=[_check(run, change.change_id) for run in last_judgement(change.runs)],
    )


def _result(task: queue_pb2.Task, attempt: queue_pb2.Attempt, change: integrator_pb2.Change) -> str:
    if attempt.reason:
        return failure_name(attempt.reason)
    if not attempt.HasField("ended_at"):
        return "open"
    complete = task.state == queue_pb2.TASK_STATE_COMPLETE
    return "landed" if change.landed_commit else "no change" if complete else "ended"


def _check(run: integrator_pb2.CheckRun, change_id: str) -> CheckLine:
    return CheckLine(
        passed=run.passed,
        of_target=run.of_target,
        others=[one.rpartition("@")[0] for one in run.change_ids if one != change_id],
        exit_status=run.exit_status,
        elapsed_ns=max(timestamp_ns(run.ended_at) - timestamp_ns(run.started_at), 0),
        output=run.output,
    )
