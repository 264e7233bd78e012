"""`coord merge`: what waits to land, why it has not yet, and who goes first."""

from collections.abc import Iterator, Sequence

import click
from coord.environment import SYSTEM
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2
from coord_host.places import Place
from google.protobuf.timestamp_pb2 import Timestamp

from coord_cli.amounts import count, format_length
from coord_cli.command import Services, UsageProblem, json_option, looking, place_options, run_async
from coord_cli.output import NEXT_STEPS, as_dict, print_json, print_table
from coord_cli.snapshot import MOVING

_PAGE = 1_000


@click.group("merge")
def merge_group() -> None:
    """Look at the merge queue, pause it, or put a change first."""


@merge_group.command("status")
@place_options
@json_option
def status(*, place: Place, as_json: bool) -> None:
    """Show what waits to land, and what is under check."""

    async def body() -> None:
        async with looking(place) as services:
            listed = await _listed(services)
            rows = [] if as_json else [await _row(services, one) for one in listed.changes]
        if as_json:
            print_json(as_dict(listed))
            return
        for line in _queue_lines(listed.merge_queue):
            click.echo(line)
        if rows:
            print_table(("change", "state", "waits", "", "why"), rows)

    run_async(body)


@merge_group.command("explain")
@click.argument("change")
@place_options
@json_option
def explain(*, change: str, place: Place, as_json: bool) -> None:
    """Say why CHANGE, or the newest change of a task, has not landed yet."""

    async def body() -> None:
        async with looking(place) as services:
            request = integrator_pb2.ExplainChangeRequest(
                project=place.project, change_id=await _change_id(services, change)
            )
            answer = await services.integrator.ExplainChange(request)
        if as_json:
            print_json(as_dict(answer))
            return
        for line in _explanation(answer):
            click.echo(line)

    run_async(body)


@merge_group.command("pause")
@place_options
@click.option("--message", default="", help="Why.")
@json_option
def pause(*, place: Place, message: str, as_json: bool) -> None:
    """Let nothing land until `coord merge resume`; agents work on."""

    async def body() -> None:
        async with looking(place) as services:
            request = integrator_pb2.PauseMergingRequest(project=place.project, message=message)
            await services.integrator.PauseMerging(request)
        _done("nothing lands until `coord merge resume`", as_json=as_json)

    run_async(body)


@merge_group.command("resume")
@place_options
@json_option
def resume(*, place: Place, as_json: bool) -> None:
    """Let changes land again after `coord merge pause`."""

    async def body() -> None:
        async with looking(place) as services:
            request = integrator_pb2.ResumeMergingRequest(project=place.project)
            await services.integrator.ResumeMerging(request)
            lands = await landing_line(services)
        _done(lands, as_json=as_json)

    run_async(body)


@merge_group.command("first")
@click.argument("change")
@place_options
@json_option
def first(*, change: str, place: Place, as_json: bool) -> None:
    """Serve CHANGE, or the newest change of a task, before all that are not urgent."""

    async def body() -> None:
        async with looking(place) as services:
            request = integrator_pb2.ReprioritizeChangeRequest(
                project=place.project, change_id=await _change_id(services, change), urgent=True
            )
            answer = await services.integrator.ReprioritizeChange(request)
        if as_json:
            print_json(as_dict(answer.change))
        else:
            click.echo(f"{answer.change.change_id} goes first")

    run_async(body)


async def landing_line(services: Services) -> str:
    """Say whether changes land again, or what else keeps them from it."""
    queue = (await _listed(services)).merge_queue
    if queue.HasField("paused"):
        return f"merging is still paused: {queue.paused.message}"
    return "changes land again"


def _done(message: str, *, as_json: bool) -> None:
    if as_json:
        print_json({})
    else:
        click.echo(message)


async def _listed(
    services: Services, states: Sequence[integrator_pb2.ChangeState] = MOVING
) -> integrator_pb2.ListChangesResponse:
    """Return all changes in one of the states (none: all), and the merge queue."""
    request = integrator_pb2.ListChangesRequest(
        project=services.project, page_size=_PAGE, states=states
    )
    found = integrator_pb2.ListChangesResponse()
    while True:
        page = await services.integrator.ListChanges(request)
        found.changes.extend(page.changes)
        found.merge_queue.CopyFrom(page.merge_queue)
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def _change_id(services: Services, name: str) -> str:
    """Return the id of a change that is named by itself or by its task.

    Raises:
        UsageProblem: There is none such.
    """
    named = [
        change.change_id
        for change in (await _listed(services, ())).changes
        if name in {change.change_id, change.attempt.task_id}
    ]
    if not named:
        raise UsageProblem(f"no change or task {name!r} has come to the merge queue")
    return named[-1]


def _queue_lines(queue: integrator_pb2.MergeQueue) -> Iterator[str]:
    yield f"landing on {queue.landing_branch} at {queue.target_commit[:10]}"
    if queue.HasField("paused"):
        yield f"merging is paused: {queue.paused.message}"
        if queue.paused.code in NEXT_STEPS:
            yield f"  {NEXT_STEPS[queue.paused.code]}"
    yield f"{len(queue.trials)} of {count(queue.slots, 'slot')} busy"
    for trial in queue.trials:
        yield f"  under check for {_since(trial.started_at)}: {_names(trial.change_ids)}"
    if queue.flakes_total:
        trees = count(queue.flakes_total, "tree")
        yield f"the check is flaky: red and green on {trees}, last with"
        yield f"  {_names(queue.flakes[0].change_ids)}"


async def _row(services: Services, change: integrator_pb2.Change) -> tuple[str, ...]:
    request = integrator_pb2.ExplainChangeRequest(
        project=services.project, change_id=change.change_id
    )
    reasons = (await services.integrator.ExplainChange(request)).reasons
    state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_").lower()
    marks = [name for name in ("urgent", "barrier") if getattr(change, name)]
    return (
        change.change_id,
        state,
        _since(change.submitted_at),
        ", ".join(marks),
        "; ".join(reason.message for reason in reasons) or change.message,
    )


def _explanation(answer: integrator_pb2.ExplainChangeResponse) -> Iterator[str]:
    change = answer.change
    state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_").lower()
    place = f", number {answer.position} in line" if answer.position else ""
    yield f"{change.change_id} is {state}{place}"
    if not answer.reasons:
        yield f"  {change.message}"
    for reason in answer.reasons:
        yield f"  {reason.code}: {reason.message}"
    for run in change.runs:
        result = "green" if run.passed else "red"
        yield f"  {result} with {_names(run.change_ids)} after {_length(run)}"


def _names(change_ids: Sequence[str]) -> str:
    return ", ".join(change_ids) or "the target alone"


def _since(time: Timestamp) -> str:
    return format_length(max(SYSTEM.now_ns() - timestamp_ns(time), 0))


def _length(run: integrator_pb2.CheckRun) -> str:
    return format_length(timestamp_ns(run.ended_at) - timestamp_ns(run.started_at))
