"""What `coord doctor` looks for in the stores: what keeps work from going on, and what waits."""

from collections.abc import Iterator, Sequence

from coord.v1 import integrator_pb2, ledger_pb2, queue_pb2
from coord_host.places import Place

from coord_cli.amounts import count, format_money
from coord_cli.command import Services, looking
from coord_cli.findings import Finding
from coord_cli.output import NEXT_STEPS
from coord_cli.plan import RUN_LABEL
from coord_cli.plan_specs import run_scope
from coord_cli.snapshot import MOVING, WORKING, tasks_of

_PAGE = 1_000
_SHOWN_MAX = 5


async def work_findings(place: Place, *, running: bool) -> list[Finding]:
    """Ask the services, or where none run the stores, what keeps work from going on."""
    async with looking(place) as services:
        request = integrator_pb2.ListChangesRequest(
            project=place.project, page_size=_PAGE, states=MOVING
        )
        answer = await services.integrator.ListChanges(request)
        spent = await _spent_runs(services)
        cut_off = [] if running else await tasks_of(services, states=list(WORKING))
    return [
        *_paused(answer.merge_queue, running=running),
        *_waiting(answer),
        *map(_spent, spent),
        *_cut_off([task.spec.id for task in cut_off]),
    ]


def _paused(queue: integrator_pb2.MergeQueue, *, running: bool) -> Iterator[Finding]:
    code = queue.paused.code
    if code:
        then = "is paused" if running else "was paused when services ran last"
        yield Finding(
            f"merging {then}: {queue.paused.message}",
            "nothing lands meanwhile, and a run that begins is refused or ends as stuck",
            NEXT_STEPS.get(code, "put that right; merging then goes on by itself"),
        )


def _waiting(answer: integrator_pb2.ListChangesResponse) -> Iterator[Finding]:
    if not answer.changes:
        return
    tasks = [change.attempt.task_id for change in answer.changes]
    first = "once merging is not paused any more, " if answer.merge_queue.paused.code else ""
    yield Finding(
        f"{len(tasks)} in the merge queue, not landed yet: {_some(tasks)}",
        "they land while services run",
        f"{first}`coord run` or `coord up` goes on with them; `coord task cancel` takes one back",
        wrong=False,
    )


def _cut_off(tasks: Sequence[str]) -> Iterator[Finding]:
    if not tasks:
        return
    yield Finding(
        f"{count(len(tasks), 'task')} cut off at work: {_some(tasks)}",
        "the services ended without a goodbye; nobody works on what is shown as RUNNING",
        "`coord run` or `coord up` goes on; their attempts begin anew",
        wrong=False,
    )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN_MAX]) + (", ..." if len(ids) > _SHOWN_MAX else "")


async def _spent_runs(services: Services) -> list[ledger_pb2.Balance]:
    """Return the balances of runs that have money left for none of their unfinished tasks."""
    tasks = await tasks_of(services, states=[queue_pb2.TASK_STATE_PENDING])
    needed: dict[str, int] = {}
    for spec in (task.spec for task in tasks if RUN_LABEL in task.spec.labels):
        least = max(spec.budget.nanos, 1)
        run = spec.labels[RUN_LABEL]
        needed[run] = min(least, needed.get(run, least))
    requests = (
        ledger_pb2.GetBalanceRequest(project=services.project, scope=run_scope(run))
        for run in sorted(needed)
    )
    balances = [(await services.ledger.GetBalance(request)).balance for request in requests]
    return [
        one
        for one in balances
        if one.HasField("cap") and one.cap.nanos - one.posted.nanos < needed[one.scope.id]
    ]


def _spent(balance: ledger_pb2.Balance) -> Finding:
    posted, cap = format_money(balance.posted.nanos), format_money(balance.cap.nanos)
    return Finding(
        f"the budget of {balance.scope.id} is spent ({posted} of {cap}): none of its tasks fits in",
        "none of them is begun, however often the run is started again",
        NEXT_STEPS["BUDGET_SPENT"],
    )
