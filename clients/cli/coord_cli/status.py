"""`coord status`: how a project stands at this moment."""

from collections import Counter
from typing import Any

import click
from coord.v1 import coordinator_pb2, integrator_pb2, ledger_pb2, queue_pb2
from coord_host.endpoint import find
from coord_host.places import Place

from coord_cli.amounts import count, format_money
from coord_cli.command import Services, json_option, looking, place_options, run_async
from coord_cli.output import as_dict, print_json, print_table, state_name
from coord_cli.snapshot import FINAL, MOVING, WORKING
from coord_cli.summary import checkout_line, commits_behind


@click.command()
@place_options
@json_option
def status(*, place: Place, as_json: bool) -> None:
    """Show tasks by state, workers, the merge queue and the cost."""
    run_async(lambda: _status(place, as_json=as_json))


async def _status(place: Place, *, as_json: bool) -> None:
    running = find(place) is not None
    async with looking(place) as services:
        answers = await _ask(services)
    queue = answers["merging"].merge_queue
    behind = await commits_behind(place.repo, queue)
    if as_json:
        told = {name: as_dict(answer) for name, answer in answers.items()}
        print_json({"running": running, "target_behind": behind, **told})
    else:
        _print(place, answers, running=running)
        if queue.landing_branch != queue.target:
            click.echo(checkout_line(queue.target, queue.landing_branch, behind))


async def _ask(services: Services) -> dict[str, Any]:
    project = services.project
    scope = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id=project)
    return {
        "status": await services.coordinator.GetStatus(
            coordinator_pb2.GetStatusRequest(project=project)
        ),
        "queue": await services.queue.GetQueueStats(
            queue_pb2.GetQueueStatsRequest(project=project)
        ),
        "workers": await services.coordinator.ListWorkers(
            coordinator_pb2.ListWorkersRequest(project=project)
        ),
        "merging": await services.integrator.ListChanges(
            integrator_pb2.ListChangesRequest(project=project, page_size=100, states=MOVING)
        ),
        "cost": await services.ledger.GetBalance(
            ledger_pb2.GetBalanceRequest(project=project, scope=scope)
        ),
    }


def _print(place: Place, answers: dict[str, Any], *, running: bool) -> None:
    lifecycle = coordinator_pb2.Lifecycle.Name(answers["status"].lifecycle)
    state = lifecycle.removeprefix("LIFECYCLE_").lower() if running else "not running"
    cost = format_money(answers["cost"].balance.posted.nanos)
    click.echo(f"{place.project}: {state}, {answers['status'].strategy}, {cost} spent")
    if answers["status"].HasField("stopped"):
        why = answers["status"].stopped.message
        click.echo(f"everything is stopped until `coord resume`: {why}")
    counts = [(state_name(one.state), str(one.count)) for one in answers["queue"].counts]
    print_table(("tasks", ""), counts)
    if not running and any(one.count for one in answers["queue"].counts if one.state not in FINAL):
        click.echo(_idle_line(answers["queue"]))
    click.echo()
    print_table(("worker", "", "task", "progress"), map(_worker_row, answers["workers"].workers))
    _print_merging(answers["merging"])
    held = Counter(one.reason.message for one in answers["status"].held)
    for message, number in held.most_common():
        click.echo(f"held back: {number} ready: {message}")


def _idle_line(stats: queue_pb2.GetQueueStatsResponse) -> str:
    """Say what becomes of work while nobody runs."""
    cut_off = sum(one.count for one in stats.counts if one.state in WORKING)
    was = f"{count(cut_off, 'task')} cut off at work; " if cut_off else ""
    return f"{was}nothing goes on until `coord run` or `coord up`"


def _worker_row(worker: coordinator_pb2.Worker) -> tuple[str, ...]:
    state = coordinator_pb2.Lifecycle.Name(worker.lifecycle).removeprefix("LIFECYCLE_").lower()
    if worker.lifecycle == coordinator_pb2.LIFECYCLE_RUNNING:
        state = "working" if worker.attempts else "idle"
    if not worker.connected:
        state = "gone"
    tasks = ", ".join(attempt.attempt.task_id for attempt in worker.attempts)
    progress = ", ".join(attempt.progress.summary for attempt in worker.attempts)
    return worker.name, state, tasks, progress


def _print_merging(listed: integrator_pb2.ListChangesResponse) -> None:
    queue = listed.merge_queue
    click.echo(f"\nlanding on {queue.landing_branch} at {queue.target_commit[:10]}")
    for change in listed.changes:
        state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_")
        click.echo(f"  {change.attempt.task_id}  {state.lower()}")
    if queue.HasField("paused"):
        # A run of the check without changes is one of the target alone.
        again = any(not trial.change_ids for trial in queue.trials)
        rest = "; it is being checked again" if again else ""
        click.echo(f"merging is paused: {queue.paused.message}{rest}")
