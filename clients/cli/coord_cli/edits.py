"""Tasks that are stored otherwise than the plan has them now, and how they make room for those."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coord.v1 import ledger_pb2, queue_pb2

from coord_cli.command import Services, UsageProblem
from coord_cli.output import state_name
from coord_cli.plan import RUN_LABEL, Plan
from coord_cli.plan_graph import in_order
from coord_cli.plan_specs import task_specs
from coord_cli.snapshot import tasks_of

_TASK = ledger_pb2.SCOPE_KIND_TASK
UNSUCCESSFUL = (
    queue_pb2.TASK_STATE_FAILED,
    queue_pb2.TASK_STATE_CANCELLED,
    queue_pb2.TASK_STATE_ABORTED,
)
_LANDED = queue_pb2.TASK_STATE_COMPLETE
_LIVE = frozenset(
    {
        queue_pb2.TASK_STATE_ASSIGNED,
        queue_pb2.TASK_STATE_RUNNING,
        queue_pb2.TASK_STATE_MERGING,
    }
)
_SHOWN_MAX = 10
_BATCH_MAX = 1_000


@dataclass(frozen=True)
class Edits:
    """How the stored tasks of a plan differ from it.

    Attributes:
        edited: Ids of those that are to be run as the plan has them now.
        gone: Ids of those that have to be forgotten for that: with them what waits for them, and
            each before what it depends on.
        landed: Ids of those that stay as they were, since they have landed.
        ended: Ids of those that stay as they were until they are tried again.
    """

    edited: Sequence[str] = ()
    gone: Sequence[str] = ()
    landed: Sequence[str] = ()
    ended: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return lines for people."""
        lines = []
        if self.edited:
            lines.append(f"run as the plan has them now: {_listed(self.edited)}")
        if self.landed:
            lines.append(
                f"stay as they were: {_listed(self.landed)}; what has landed is done anew under a"
                " new id, or after `coord task remove`"
            )
        if self.ended:
            lines.append(
                f"stay as they were: {_listed(self.ended)}; --retry-failed tries them as the plan"
                " has them now"
            )
        return lines

    async def make_room(self, plan: Plan, services: Services) -> Plan:
        """Forget what has to go; return the plan with what is to be stored of it.

        Until that is done the forgotten tasks are in the plan alone: the same run, begun again,
        stores them.

        Raises:
            UsageProblem: One of them is under way by now.
        """
        results = await forget(self.gone, services)
        if errors := [one.error.message for one in results if one.HasField("error")]:
            raise UsageProblem(f"{plan.path}: {'; '.join(errors[:_SHOWN_MAX])}")
        wanted = frozenset(task.id for task in plan.tasks)
        return replace(plan, chosen=(wanted | {*self.gone}) - {*self.landed, *self.ended})


async def find_edits(plan: Plan, services: Services, *, again: bool) -> Edits:
    """Compare the stored tasks with the plan.

    Args:
        plan: The plan.
        services: The project's services.
        again: Whether what has ended without success is tried again.

    Raises:
        UsageProblem: Some of them differ, and have to stay as they are.
    """
    stored = await tasks_of(services)
    differing = await _differing(plan, stored, services)
    _refuse_what_stays(plan, differing, again=again)
    landed = [one.spec.id for one in differing if one.state == _LANDED]
    rest = [one.spec.id for one in differing if one.state != _LANDED]
    if not again:
        return Edits(landed=landed, ended=rest)
    gone = _with_dependents(rest, stored)
    mine = {one.spec.id for one in stored if _run(one) == plan.name}
    if others := [
        name for name in gone if name not in mine & {one.id for one in plan.content.tasks}
    ]:
        raise UsageProblem(
            f"{plan.path}: the plan does not have {_listed(others)}, and what depends on a changed"
            f" task is in the way of the change: `coord task remove {' '.join(others)}` first"
        )
    return Edits(rest, gone, landed)


async def forget(task_ids: Sequence[str], services: Services) -> list[queue_pb2.ReportResult]:
    """Remove tasks, with the caps that their budgets have set; return how each went."""
    named = set(task_ids)
    for task in await tasks_of(services) if named else ():
        if task.spec.id in named and task.state not in _LIVE and task.spec.HasField("budget"):
            await _lift_cap(task.spec, services)
    results: list[queue_pb2.ReportResult] = []
    for begin in range(0, len(task_ids), _BATCH_MAX):
        request = queue_pb2.RemoveTasksRequest(
            project=services.project, task_ids=task_ids[begin : begin + _BATCH_MAX]
        )
        results += (await services.queue.RemoveTasks(request)).results
    return results


async def _lift_cap(spec: queue_pb2.TaskSpec, services: Services) -> None:
    """Take the cap of a task's own budget away: it would hold for the next task of that id."""
    project, scope = services.project, ledger_pb2.Scope(kind=_TASK, id=spec.id)
    asked = ledger_pb2.GetBalanceRequest(project=project, scope=scope)
    if (await services.ledger.GetBalance(asked)).balance.cap == spec.budget:
        request = ledger_pb2.SetBudgetRequest(project=project, scope=scope, remove=True)
        await services.ledger.SetBudget(request)


async def _differing(
    plan: Plan, stored: Iterable[queue_pb2.Task], services: Services
) -> list[queue_pb2.Task]:
    wanted = {spec.id: spec for spec in task_specs(plan)}
    found = []
    for task in stored:
        if task.spec.id in wanted:
            # Lists leave prompts out.
            request = queue_pb2.GetTaskRequest(project=services.project, task_id=task.spec.id)
            spec = (await services.queue.GetTask(request)).task.spec
            if spec != wanted[task.spec.id]:
                found.append(task)
    return found


def _with_dependents(edited: Iterable[str], stored: Iterable[queue_pb2.Task]) -> list[str]:
    """Return tasks with all that waits for them, each before what it depends on."""
    deps = {one.spec.id: one.spec.deps for one in stored if one.state != _LANDED}
    order, gone = in_order(deps), set(edited)
    for name in order:
        if gone.intersection(deps[name]):
            gone.add(name)
    return [name for name in reversed(order) if name in gone]


def _refuse_what_stays(plan: Plan, differing: Sequence[queue_pb2.Task], *, again: bool) -> None:
    """Raise UsageProblem where tasks would be done otherwise than the plan has them."""
    if foreign := [one for one in differing if _run(one) != plan.name]:
        raise UsageProblem(_of_another(plan, foreign))
    if live := [one for one in differing if one.state in _LIVE]:
        raise UsageProblem(
            f"{plan.path}: under way as the plan had them before: {_with_states(live)}; wait for"
            " their end, or end them with `coord task cancel`"
        )
    waiting = [one for one in differing if one.state == queue_pb2.TASK_STATE_PENDING]
    if waiting and not again:
        raise UsageProblem(
            f"{plan.path}: stored as the plan had them before: {_with_states(waiting)};"
            " --retry-failed runs them as the plan has them now"
        )


def _of_another(plan: Plan, tasks: Sequence[queue_pb2.Task]) -> str:
    name = _run(tasks[0])
    same = [one for one in tasks if _run(one) == name]
    whose = f"plan {name!r}" if name else "`coord task add`"
    renamed = f"; if it is the same plan, renamed, write name = {name!r} below [plan]"
    return (
        f"{plan.path}: these ids are taken by other tasks, those of {whose}: {_with_states(same)}."
        f" Give the tasks of this plan others{renamed if name else ''}"
    )


def _run(task: queue_pb2.Task) -> str:
    return task.spec.labels.get(RUN_LABEL, "")


def _with_states(tasks: Sequence[queue_pb2.Task]) -> str:
    return _listed([f"{one.spec.id} ({state_name(one.state)})" for one in tasks])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return f"{', '.join(names[:_SHOWN_MAX])}{more}"
