"""What `coord doctor` looks for in the stores: what keeps work from going on, and what waits."""

from collections.abc import Iterator

from coord.v1 import integrator_pb2, ledger_pb2, queue_pb2
from coord_host import Place

from coord_cli.amounts import format_money
from coord_cli.command import Services, looking
from coord_cli.findings import Finding
from coord_cli.output import NEXT_STEPS
from coord_cli.plan import RUN_LABEL
from coord_cli.plan_specs import run_scope
from coord_cli.snapshot import MOVING, tasks_of

_PAGE = 1_000
_SHOWN_MAX = 5


async def work_findings(place: Place) -> list[Finding]:
    """Ask the services, or where none run the stores, what keeps work from going on."""
    async with looking(place) as services:
        request = integrator_pb2.ListChangesRequest(
            project=place.project, page_size=_PAGE, states=MOVING
        )
        answer = await services.integrator.ListChanges(request)
        spent = await _spent_runs(services)
    return [*_paused(answer.merge_queue), *_waiting(answer), *map(_spent, spent)]


def _paused(queue: integrator_pb2.MergeQueue) -> Iterator[Finding]:
    code = queue.paused.code
    if code:
        yield Finding(
            f"merging is paused: {queue.paused.message}",
            "nothing lands meanwhile, and a run that begins is refused or ends as stuck",
            NEXT_STEPS.get(code, "put that right; merging then goes on by itself"),
        )


def _waiting(answer: integrator_pb2.ListChangesResponse) -> Iterator[Finding]:
    if not answer.changes:
        return
    shown = ", ".join(change.attempt.task_id for change in answer.changes[:_SHOWN_MAX])
    more = ", ..." if len(answer.changes) > _SHOWN_MAX else ""
    first = "once merging is not paused any more, " if answer.merge_queue.paused.code else ""
    yield Finding(
        f"{len(answer.changes)} in the merge queue, not landed yet: {shown}{more}",
        "they land one by one, while services run",
        f"{first}`coord run` or `coord up` goes on with them; `coord task cancel` takes one back",
        wrong=False,
    )


async def _spent_runs(services: Services) -> list[ledger_pb2.Balance]:
    """Return the balances of runs that have unfinished tasks and no money left for them."""
    tasks = await tasks_of(services, states=[queue_pb2.TASK_STATE_PENDING])
    runs = {task.spec.labels[RUN_LABEL] for task in tasks if RUN_LABEL in task.spec.labels}
    requests = (
        ledger_pb2.GetBalanceRequest(project=services.project, scope=run_scope(run))
        for run in sorted(runs)
    )
    balances = [(await services.ledger.GetBalance(request)).balance for request in requests]
    return [one for one in balances if one.HasField("cap") and one.posted.nanos >= one.cap.nanos]


def _spent(balance: ledger_pb2.Balance) -> Finding:
    posted, cap = format_money(balance.posted.nanos), format_money(balance.cap.nanos)
    return Finding(
        f"the budget of {balance.scope.id} is spent ({posted} of {cap}), and it has tasks left",
        "none of them is begun, however often the run is started again",
        NEXT_STEPS["BUDGET_SPENT"],
    )
