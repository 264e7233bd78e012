"""What came of a run, for people and for programs."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import grpc.aio
from coord.errors import from_rpc
from coord.v1 import common_pb2, integrator_pb2, ledger_pb2, queue_pb2

from coord_cli.amounts import count, format_length, format_money
from coord_cli.checkout_watch import Stray
from coord_cli.command import Services
from coord_cli.job import Ending, Outcome
from coord_cli.output import NEXT_STEPS, failure_name, print_table, state_name
from coord_cli.plan_specs import run_scope
from coord_cli.stuck import explain

_PAGE = 1_000
_ASKED_MAX = 200
_STRAYS_SHOWN, _TASKS_SHOWN = 10, 5


@dataclass(frozen=True)
class TaskLine:
    """One task of the summary. `cost_nanos` is in billionths of a dollar."""

    id: str
    title: str
    state: str
    attempts: int
    cost_nanos: int
    commit: str
    reason: str
    message: str


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Attributes:
        run: Its name.
        ending: How it ended.
        tasks: Its tasks.
        elapsed_ns: How long it took.
        cost_nanos: What it has cost, in billionths of a dollar.
        branch: The branch that the changes have landed on.
        target: The branch that the user named.
        behind: How many landed commits `target` does not have.
        strays: What has changed in the user's checkout, and not by a landing.
    """

    run: str
    ending: Ending
    tasks: list[TaskLine]
    elapsed_ns: int
    cost_nanos: int
    branch: str
    target: str
    behind: int
    strays: Sequence[Stray] = ()

    @property
    def landed(self) -> list[TaskLine]:
        """The tasks that are done."""
        return [task for task in self.tasks if task.state == "COMPLETE"]

    @property
    def left(self) -> list[TaskLine]:
        """The tasks that are not."""
        return [task for task in self.tasks if task.state != "COMPLETE"]


async def summarize(
    services: Services,
    repo: Path | None,
    outcome: Outcome,
    elapsed_ns: int,
    strays: Sequence[Stray] = (),
) -> Summary:
    """Collect what came of a run."""
    snapshot = outcome.snapshot
    costs = await _costs(services, snapshot.run)
    commits = await _commits(services)
    reasons = {task: (_cause(one), one.message) for task, one in outcome.stuck.items()}
    lines = []
    for task in snapshot.tasks:
        attempt = task.attempts[-1] if task.attempts else queue_pb2.Attempt()
        code, message = _why(task, reasons)
        if not message and task.state not in _ENDED and len(reasons) < _ASKED_MAX:
            message = await _explained(services, task.spec.id, outcome.ending)
            reasons[task.spec.id] = code, message
        lines.append(
            TaskLine(
                id=task.spec.id,
                title=task.spec.title,
                state=state_name(task.state),
                attempts=attempt.number,
                cost_nanos=costs[task.spec.id],
                commit=commits.get(f"{task.spec.id}@{attempt.fencing_token}", ""),
                reason=code,
                message=message,
            )
        )
    spent = snapshot.balance.posted.nanos
    return Summary(
        snapshot.run,
        outcome.ending,
        lines,
        elapsed_ns,
        spent,
        snapshot.merge_queue.landing_branch,
        snapshot.merge_queue.target,
        await commits_behind(repo, snapshot.merge_queue),
        strays,
    )


async def commits_behind(repo: Path | None, queue: integrator_pb2.MergeQueue) -> int:
    """Return how many landed commits the target does not have; 0 also where git cannot tell."""
    if repo is None or queue.landing_branch == queue.target:
        return 0
    span = f"refs/heads/{queue.target}..refs/heads/{queue.landing_branch}"
    process = await asyncio.create_subprocess_exec(
        *("git", "-C", str(repo), "rev-list", "--count", span),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return int(output or b"0")


_ENDED = {
    queue_pb2.TASK_STATE_COMPLETE,
    queue_pb2.TASK_STATE_FAILED,
    queue_pb2.TASK_STATE_CANCELLED,
    queue_pb2.TASK_STATE_ABORTED,
}


def _why(task: queue_pb2.Task, stuck: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    if task.state in _ENDED:
        return failure_name(task.reason), task.message
    return stuck.get(task.spec.id, ("", ""))


def _cause(reason: common_pb2.Reason) -> str:
    """Return the code of what holds a task up; that merging is paused has a cause of its own."""
    return reason.metadata.get("cause", reason.code)


async def _explained(services: Services, task_id: str, ending: Ending) -> str:
    try:
        reasons = await explain(services, task_id)
    except grpc.aio.AioRpcError as error:
        return f"unknown: {from_rpc(error)}"
    if ending is Ending.INTERRUPTED and any(reason.code == "NO_WORKER" for reason in reasons):
        # That no worker is left is the interrupt's doing.
        return "the run was interrupted before it was done"
    return "; ".join(reason.message for reason in reasons)


async def _costs(services: Services, run: str) -> Counter[str]:
    """Return what each task has cost, in billionths of a dollar."""
    costs: Counter[str] = Counter()
    for entry in await entries_of(services, run):
        for scope in entry.scopes:
            if scope.kind == ledger_pb2.SCOPE_KIND_TASK:
                costs[scope.id] += entry.amount.nanos
    return costs


async def entries_of(services: Services, run: str) -> list[ledger_pb2.LedgerEntry]:
    """Return all that was posted for a run."""
    entries: list[ledger_pb2.LedgerEntry] = []
    token = ""
    while True:
        request = ledger_pb2.ListEntriesRequest(
            project=services.project, scope=run_scope(run), page_size=_PAGE, page_token=token
        )
        page = await services.ledger.ListEntries(request)
        entries += page.entries
        token = page.next_page_token
        if not token:
            return entries


async def _commits(services: Services) -> dict[str, str]:
    """Return the landed commit of each change by its id."""
    commits: dict[str, str] = {}
    token = ""
    while True:
        request = integrator_pb2.ListChangesRequest(
            project=services.project,
            page_size=_PAGE,
            page_token=token,
            states=[integrator_pb2.CHANGE_STATE_LANDED],
        )
        page = await services.integrator.ListChanges(request)
        commits |= {change.change_id: change.landed_commit for change in page.changes}
        token = page.next_page_token
        if not token:
            return commits


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the summary for programs."""
    return {
        "run": summary.run,
        "ending": summary.ending.value,
        "landed": len(summary.landed),
        "not_landed": len(summary.left),
        "elapsed_s": round(summary.elapsed_ns / 1e9, 3),
        "cost_usd": summary.cost_nanos / 1e9,
        "branch": summary.branch,
        "target": summary.target,
        "target_behind": summary.behind,
        "checkout_changes": [
            {"path": stray.path, "tasks": list(stray.tasks)} for stray in summary.strays
        ],
        "tasks": [
            {
                "id": task.id,
                "title": task.title,
                "state": task.state,
                "attempts": task.attempts,
                "cost_usd": task.cost_nanos / 1e9,
                "commit": task.commit,
                "reason": task.reason,
                "message": task.message,
            }
            for task in summary.tasks
        ],
    }


def print_summary(summary: Summary) -> None:
    """Print the summary for people."""
    click.echo()
    if summary.landed:
        print_table(("landed", "attempts", "cost", "commit", ""), map(_row, summary.landed))
    if summary.left:
        click.echo()
        print_table(("not landed", "state", "why"), map(_left_row, summary.left))
    click.echo()
    click.echo(headline(summary))
    for hint in hints(summary):
        click.echo(hint)


def headline(summary: Summary) -> str:
    """Return the whole of it in a line."""
    where = f" on {summary.branch}" if summary.branch else ""
    changed = sum(1 for task in summary.landed if task.commit)
    what = f"landed{where}"
    if summary.branch and changed < len(summary.landed):
        what = f"done, {changed} of them with a change{where},"
    return (
        f"{summary.run}: {summary.ending.value}; {len(summary.landed)} of {len(summary.tasks)}"
        f" tasks {what} in {format_length(summary.elapsed_ns)} for"
        f" {format_money(summary.cost_nanos)}"
    )


def _row(task: TaskLine) -> tuple[str, ...]:
    cost = format_money(task.cost_nanos)
    commit = task.commit[:10] or "no change"
    return task.id, str(task.attempts), cost, commit, task.title


def _left_row(task: TaskLine) -> tuple[str, ...]:
    why = ": ".join(part for part in (task.reason, task.message) if part)
    return task.id, task.state, why


def hints(summary: Summary) -> Iterable[str]:
    """Yield what the user may do next."""
    if summary.strays:
        yield _stray_hint(summary.strays)
    beside = summary.branch != summary.target and any(task.commit for task in summary.landed)
    if summary.behind or beside:
        yield checkout_line(summary.target, summary.branch, summary.behind)
    failed = [task for task in summary.left if task.state in {"FAILED", "ABORTED", "CANCELLED"}]
    for reason in sorted({task.reason for task in summary.left} & set(NEXT_STEPS)):
        yield f"{reason}: {NEXT_STEPS[reason]}"
    if failed:
        yield "`coord logs TASK` shows what an agent printed; --retry-failed tries again"
    if len(failed) < len(summary.left):
        held = any(task.reason in NEXT_STEPS for task in summary.left if task not in failed)
        first = "then " if held else ""
        yield f"{first}the same command goes on with what is left"


def checkout_line(target: str, branch: str, behind: int) -> str:
    """Say whether the user's checkout has what has landed beside it."""
    if not behind:
        return f"{target}, and with it your checkout, has all that has landed"
    return (
        f"{target} lacks {count(behind, 'landed commit')}: your checkout was left as it is;"
        f" `git merge {branch}` brings them in"
    )


def _at_work(stray: Stray) -> str:
    named = ", ".join(stray.tasks[:_TASKS_SHOWN]) or "nothing"
    more = ", ..." if len(stray.tasks) > _TASKS_SHOWN else ""
    return f"{named}{more} {'were' if len(stray.tasks) > 1 else 'was'} at work"


def _stray_hint(strays: Sequence[Stray]) -> str:
    shown = [f"{stray.path} (while {_at_work(stray)})" for stray in strays[:_STRAYS_SHOWN]]
    more = f" and {len(strays) - len(shown)} more" if len(strays) > len(shown) else ""
    return (
        f"WARNING: your checkout has changed, and not by a landing: {', '.join(shown)}{more}."
        " Unless that was you, an agent wrote outside of its worktree; Coord leaves it as it is"
    )
