"""Which of a plan's tasks a run is for."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from coord.v1 import coordinator_pb2, queue_pb2

from coord_cli.amounts import count
from coord_cli.command import Services, UsageProblem
from coord_cli.plan import RUN_LABEL, Plan
from coord_cli.plan_graph import did_you_mean
from coord_cli.snapshot import tasks_of

_SHOWN_MAX = 5
_UNFINISHED = (
    queue_pb2.TASK_STATE_PENDING,
    queue_pb2.TASK_STATE_ASSIGNED,
    queue_pb2.TASK_STATE_RUNNING,
    queue_pb2.TASK_STATE_MERGING,
)


def choose(plan: Plan, only: Sequence[str], until: Sequence[str], *, with_deps: bool) -> Plan:
    """Return the plan with the tasks that are wanted chosen.

    Args:
        plan: The plan.
        only: Ids and globs of tasks; empty for all.
        until: Ids of tasks that are wanted with all that they need.
        with_deps: Whether all that is wanted comes with what it needs.

    Raises:
        UsageProblem: A name fits no task.
    """
    if not only and not until:
        return plan
    deps = {task.id: task.deps for task in plan.content.tasks}
    wanted = {task for pattern in only for task in _matching(pattern, deps, "--only")}
    ends = {task for name in until for task in _matching(name, deps, "--until")}
    wanted = _with_deps(wanted, deps) if with_deps else wanted
    return replace(plan, chosen=frozenset(wanted | _with_deps(ends, deps)))


def _matching(pattern: str, known: Iterable[str], option: str) -> list[str]:
    found = [task for task in known if task == pattern or fnmatchcase(task, pattern)]
    if not found:
        hint = did_you_mean(pattern, known)
        raise UsageProblem(f"{option} {pattern}: no task of the plan is called so{hint}")
    return found


def _with_deps(tasks: Iterable[str], deps: dict[str, list[str]]) -> set[str]:
    found, left = set(tasks), list(tasks)
    while left:
        new = set(deps[left.pop()]) - found
        found |= new
        left += new
    return found


def check_needs(plan: Plan, landed: Collection[str]) -> None:
    """Raise UsageProblem where a chosen task needs one that is not chosen and has not landed."""
    there = {task.id for task in plan.tasks} | set(landed)
    missing = [
        f"{task.id!r} needs {dep!r}" for task in plan.tasks for dep in task.deps if dep not in there
    ]
    if missing:
        raise UsageProblem(
            f"{', '.join(missing)}, which has not landed; --with-deps takes along what is needed"
        )


async def landed_tasks(services: Services) -> set[str]:
    """Return the ids of the project's tasks that have landed."""
    stored = await tasks_of(services, states=[queue_pb2.TASK_STATE_COMPLETE])
    return {task.spec.id for task in stored}


async def others(plan: Plan, services: Services) -> list[str]:
    """Return a line for each plan that has stored tasks nobody asked for: they may go on too."""
    stored = await tasks_of(services, states=_UNFINISHED)
    mine = {task.id for task in plan.tasks}
    left = [task.spec for task in stored if task.spec.id not in mine]
    asked = coordinator_pb2.ListWorkersRequest(project=services.project)
    workers = (await services.coordinator.ListWorkers(asked)).workers
    served = {run for worker in workers if worker.connected for run in worker.runs}
    lines = []
    for run, number in Counter(spec.labels.get(RUN_LABEL, "") for spec in left).items():
        ids = [spec.id for spec in left if spec.labels.get(RUN_LABEL, "") == run]
        more = ", ..." if number > _SHOWN_MAX else ""
        whose = f"of plan {run!r}" if run else "without a plan"
        if plan.chosen is not None and run == plan.name:
            whose += ", stored by an earlier run, are not held back by --only and --until and"
        shown = f"{', '.join(ids[:_SHOWN_MAX])}{more}"
        unfinished = count(number, "unfinished task")
        if run in served - {plan.name}:
            lines.append(f"{unfinished} {whose}, which another run works on: {shown}")
        else:
            end = "`coord task cancel` ends them"
            lines.append(f"{unfinished} {whose} may go on too: {shown}; {end}")
    return lines
