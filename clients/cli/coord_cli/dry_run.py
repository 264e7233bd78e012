"""`coord run --dry-run`: what would be done, by whom, in what order; nothing is."""

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from coord.times import duration_ns
from coord.v1 import queue_pb2
from coord_host.endpoint import find, last_overrides
from coord_host.overrides import check_same, is_checked_alike
from coord_worker.agents import ShellAgent, missing

from coord_cli.amounts import count, format_length, format_money
from coord_cli.check_runs import ask_target
from coord_cli.choice import check_needs
from coord_cli.command import UsageProblem, looking
from coord_cli.edits import Edits, find_edits
from coord_cli.errand import Order
from coord_cli.output import print_json, print_table, state_name
from coord_cli.plan_shape import Shape, shape_json, shape_lines, shape_of
from coord_cli.profiles import Profile
from coord_cli.snapshot import FINAL, tasks_of

_PRIORITY = 100
_LANDED = queue_pb2.TASK_STATE_COMPLETE


@dataclass(frozen=True)
class Step:
    """One task that would be done.

    Attributes:
        turn: Its turn: what has the same turn begins together if all tasks take equally long.
        task: The task.
        worker: The profile of the worker that it would go to; empty for a worker without one.
        agent: That worker's agent.
    """

    turn: int
    task: queue_pb2.TaskSpec
    worker: str
    agent: str


async def tell_dry_run(order: Order) -> int:
    """Print what a run would do, and return the exit code.

    Raises:
        UsageProblem: Something would hinder it.
    """
    await _check_repository(order)
    _check_services(order)
    states, edits = await _stored(order)
    if order.retry_failed:
        states = {
            task_id: state
            for task_id, state in states.items()
            if state not in FINAL or state == _LANDED
        }
    check_needs(order.plan, [name for name, state in states.items() if state == _LANDED])
    shape = shape_of(order.plan)
    steps = list(plan_steps(shape.tasks, states, order.crew.profiles, order.crew.agent))
    check_first = bool(steps) and await _would_be_checked(order)
    if order.as_json:
        stay = [*edits.landed, *edits.ended]
        more = {"edited": edits.edited, "stay_as_they_were": stay, "target_check": check_first}
        print_json(_as_json(order, shape, steps, states) | more)
    else:
        _print(shape, steps, states)
        for line in edits.lines():
            click.echo(line)
        click.echo(_check_line(check_first=check_first))
        number = count(len(steps), "task")
        click.echo(f"{order.plan.name}: {number} would be run; nothing was started")
    return 0


async def _check_repository(order: Order) -> None:
    repo = order.place.repo
    target = order.overrides.get("integrator", {}).get("target") or "HEAD"
    if repo is not None and not await _has_commit(repo, target):
        raise UsageProblem(f"{repo} has no commit on {target}: make one, or name a --target")
    check = order.overrides.get("integrator", {}).get("check")
    if check and missing(ShellAgent(check), repo or Path()):
        first = shlex.split(check)[0]
        quoting = ""
        if first != check and (repo or Path()).joinpath(check).exists():
            quoting = f'; quote a path with spaces within it: --check "{shlex.quote(check)}"'
        raise UsageProblem(f"the check {check!r} is not there: {first} is unknown{quoting}")


def _check_services(order: Order) -> None:
    """Refuse what a run would be refused for by its services, or beside those that run."""
    from coord_host.sections import check_settings  # noqa: PLC0415 - slow; a run has no need of it.

    check_settings(order.place, order.overrides)
    endpoint = find(order.place)
    if endpoint is not None:
        check_same(endpoint, order.overrides)


async def _would_be_checked(order: Order) -> bool:
    """Tell whether the check would run on the target before the first agent starts."""
    if order.overrides.get("integrator", {}).get("no_check"):
        return False
    if not (order.place.state / "queue").is_dir():
        return True
    if find(order.place) is None and not is_checked_alike(
        last_overrides(order.place), order.overrides
    ):
        return True
    async with looking(order.place) as services:
        return not (await ask_target(services, known_only=True)).green


def _check_line(*, check_first: bool) -> str:
    if check_first:
        return "before the first agent starts, the check would run once on the target alone"
    return "the check would not run before the first agent starts"


async def _has_commit(repo: Path, name: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        *("git", "-C", str(repo), "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await process.wait() == 0


async def _stored(order: Order) -> tuple[dict[str, queue_pb2.TaskState], Edits]:
    """Return the states of the tasks that earlier runs have stored, and how they differ."""
    if not (order.place.state / "queue").is_dir():
        return {}, Edits()
    async with looking(order.place) as services:
        edits = await find_edits(order.plan, services, again=order.retry_failed)
        stored = await tasks_of(services)
    return {task.spec.id: task.state for task in stored}, edits


def plan_steps(
    tasks: Sequence[queue_pb2.TaskSpec],
    states: Mapping[str, queue_pb2.TaskState],
    workers: Sequence[Profile],
    agent: str,
) -> Iterator[Step]:
    """Yield what would be done in the order in which it would begin, by priority, then by age.

    It is what dispatch does where every task takes equally long: in each turn each worker gets one.
    """
    left = [task for task in tasks if states.get(task.id) not in FINAL]
    waiting = {task.id for task in left}
    turn = 0
    while left:
        turn += 1
        ready = [task for task in left if not waiting & set(task.deps)]
        ready.sort(key=lambda task: task.priority if task.HasField("priority") else _PRIORITY)
        free = list(workers)
        for task in ready:
            worker = _best(task, free)
            if worker is not None:
                free.remove(worker)
                left.remove(task)
                yield Step(turn, task, worker.name, worker.agent or agent)
        waiting = {task.id for task in left}
        if len(free) == len(workers):
            return


def _best(task: queue_pb2.TaskSpec, free: Sequence[Profile]) -> Profile | None:
    needed = set(task.required_capabilities)
    able = [worker for worker in free if needed <= set(worker.capabilities)]
    return max(able, key=lambda worker: worker.preferences.get(task.category, 0), default=None)


def _as_json(
    order: Order,
    shape: Shape,
    steps: Sequence[Step],
    states: Mapping[str, queue_pb2.TaskState],
) -> dict[str, Any]:
    return {
        "plan": order.plan.name,
        "steps": [_step_json(step) for step in steps],
        "ended": {
            task.id: state_name(states[task.id])
            for task in shape.tasks
            if states.get(task.id) in FINAL
        },
        **shape_json(shape),
    }


def _step_json(step: Step) -> dict[str, Any]:
    task = step.task
    return {
        "turn": step.turn,
        "id": task.id,
        "title": task.title,
        "worker": step.worker,
        "agent": step.agent,
        "cost_usd_max": task.budget.nanos / 1e9 if task.HasField("budget") else None,
        "timeout_s": duration_ns(task.timeout) / 1e9 if task.HasField("timeout") else None,
    }


def _print(
    shape: Shape,
    steps: Sequence[Step],
    states: Mapping[str, queue_pb2.TaskState],
) -> None:
    columns = ("turn", "task", "worker", "at most", "time limit", "")
    print_table(columns, map(_row, steps))
    click.echo()
    for line in shape_lines(shape):
        click.echo(line)
    ended = [task.id for task in shape.tasks if states.get(task.id) in FINAL]
    if ended:
        click.echo(f"ended in an earlier run: {', '.join(ended)}")


def _row(step: Step) -> tuple[str, ...]:
    task = step.task
    cost = format_money(task.budget.nanos) if task.HasField("budget") else "no limit"
    time = format_length(duration_ns(task.timeout)) if task.HasField("timeout") else "no limit"
    worker = step.worker or "any"
    return str(step.turn), task.id, worker, cost, time, task.title
