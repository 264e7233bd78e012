"""`coord task`: adding, seeing and steering single tasks."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from coord.times import duration
from coord.v1 import coordinator_pb2, queue_pb2
from coord_host.places import Place

from coord_cli.amounts import count
from coord_cli.command import (
    EXIT_FAILED,
    Services,
    json_option,
    looking,
    place_options,
    run_async,
)
from coord_cli.edits import forget
from coord_cli.kept_work import kept_ref, kept_work
from coord_cli.output import as_dict, failure_name, print_json, print_table, state_name
from coord_cli.parameters import LENGTH, MONEY
from coord_cli.plan_specs import money
from coord_cli.snapshot import tasks_of

_CONFLICT = queue_pb2.FAILURE_REASON_CONFLICT
_DETAIL_LINES_MAX, _DETAIL_CHARS_MAX = 30, 120
_STATES = [state.removeprefix("TASK_STATE_") for state in queue_pb2.TaskState.keys()[1:]]


@click.group()
def task() -> None:
    """Add, see and steer single tasks."""


@task.command()
@click.argument("prompt")
@place_options
@click.option("--id", "task_id", default="", help="Its id.  [default: one is made]")
@click.option("--title", default="", help="One line for people.")
@click.option("--dep", "deps", multiple=True, help="A task that must be COMPLETE before.")
@click.option("--priority", type=int, help="Lower is more urgent.  [default: 100]")
@click.option("--category", default="", help="The kind of work, such as code or testing.")
@click.option(
    "--capability", "capabilities", multiple=True, help="What its worker must be able to do."
)
@click.option("--path", "paths", multiple=True, help="Glob of files that it means to touch.")
@click.option("--timeout", type=LENGTH, help="Longest run of an attempt, such as 10m.")
@click.option("--retries", type=click.IntRange(0, 99), help="Further attempts after a failure.")
@click.option("--budget", type=MONEY, help="The most that it may cost, such as $0.50.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="For filters.")
@json_option
def add(*, place: Place, as_json: bool, **fields: Any) -> None:
    """Add a task. PROMPT is what the agent is asked; `-` reads it from standard input."""
    spec = _spec(**fields)
    run_async(lambda: _add(place, spec, as_json=as_json))


def _spec(
    *,
    prompt: str,
    task_id: str,
    deps: Sequence[str],
    title: str,
    category: str,
    priority: int | None,
    capabilities: Sequence[str],
    paths: Sequence[str],
    labels: Sequence[str],
    timeout: int | None,
    retries: int | None,
    budget: int | None,
) -> queue_pb2.TaskSpec:
    return queue_pb2.TaskSpec(
        id=task_id,
        title=title,
        category=category,
        prompt=sys.stdin.read() if prompt == "-" else prompt,
        deps=deps,
        priority=priority,
        required_capabilities=capabilities,
        paths=paths,
        labels=dict(_label(label) for label in labels),
        timeout=None if timeout is None else duration(timeout),
        retry_policy=None if retries is None else queue_pb2.RetryPolicy(max_attempts=retries + 1),
        budget=None if budget is None else money(budget),
    )


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--label {text!r}: write it as key=value")
    return name, value


async def _add(place: Place, spec: queue_pb2.TaskSpec, *, as_json: bool) -> None:
    async with looking(place, anew=True) as services:
        request = queue_pb2.AddTasksRequest(project=place.project, tasks=[spec])
        answer = await services.queue.AddTasks(request)
    if as_json:
        print_json({"id": answer.task_ids[0], "existing": bool(answer.existing)})
    else:
        click.echo(answer.task_ids[0])


@task.command("list")
@place_options
@click.option(
    "--only",
    "states",
    multiple=True,
    type=click.Choice(_STATES, case_sensitive=False),
    help="Only tasks in this state.",
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("--worker", default="", help="Only tasks whose newest attempt is this worker's.")
@json_option
def list_(
    *, place: Place, states: Sequence[str], labels: Sequence[str], worker: str, as_json: bool
) -> None:
    """List tasks in the order in which they were added."""
    wanted = [getattr(queue_pb2, f"TASK_STATE_{state.upper()}") for state in states]
    chosen = dict(_label(label) for label in labels)

    async def body() -> None:
        async with looking(place) as services:
            _print_tasks(
                await tasks_of(services, labels=chosen, states=wanted, worker=worker),
                as_json=as_json,
            )

    run_async(body)


def _print_tasks(tasks: Iterable[queue_pb2.Task], *, as_json: bool) -> None:
    if as_json:
        print_json([as_dict(one) for one in tasks])
        return
    rows = (
        (
            one.spec.id,
            state_name(one.state),
            str(one.attempts[-1].number if one.attempts else 0),
            one.attempts[-1].worker if one.attempts else "",
            one.message or one.spec.title,
        )
        for one in tasks
    )
    print_table(("task", "state", "attempts", "worker", "message or title"), rows)


@task.command()
@click.argument("task_id", metavar="TASK")
@place_options
@json_option
def show(*, task_id: str, place: Place, as_json: bool) -> None:
    """Show a task with all its attempts."""

    async def body() -> None:
        async with looking(place) as services:
            request = queue_pb2.GetTaskRequest(project=place.project, task_id=task_id)
            found = (await services.queue.GetTask(request)).task
        if as_json:
            print_json(as_dict(found))
        else:
            _print_task(found, kept_work(place.repo))

    run_async(body)


def _print_task(found: queue_pb2.Task, kept: Mapping[tuple[str, int], str]) -> None:
    click.echo(f"{found.spec.id}: {found.spec.title}")
    click.echo(f"{state_name(found.state)} {failure_name(found.reason)} {found.message}".rstrip())
    if found.spec.deps:
        click.echo(f"after {', '.join(found.spec.deps)}")
    click.echo(f"\n{found.spec.prompt}\n")
    rows = (
        (str(one.number), one.worker, failure_name(one.reason), one.message, one.progress.summary)
        for one in found.attempts
    )
    print_table(("attempt", "worker", "ended", "message", "progress"), rows)
    for one in found.attempts:
        if one.reason and (ref := kept_ref(kept, one)):
            click.echo(f"the work of attempt {one.number} is kept: git log {ref}")
    conflicts = [one for one in found.attempts if one.reason == _CONFLICT]
    for line in _conflict_lines(conflicts[-1]) if conflicts else ():
        click.echo(line)


def _conflict_lines(attempt: queue_pb2.Attempt) -> Iterator[str]:
    """Yield the beginning of both sides' hunks."""
    yield f"\nthe conflict of attempt {attempt.number}:"
    lines = attempt.detail.rstrip().splitlines()
    for line in lines[:_DETAIL_LINES_MAX]:
        more = "..." if len(line) > _DETAIL_CHARS_MAX else ""
        yield f"  | {line[:_DETAIL_CHARS_MAX]}{more}".rstrip()
    if (left := len(lines) - _DETAIL_LINES_MAX) > 0:
        yield f"  {count(left, 'more line')} in `detail`, with --json"


@task.command()
@click.argument("task_id", metavar="TASK")
@place_options
@json_option
def explain(*, task_id: str, place: Place, as_json: bool) -> None:
    """Explain why a task is not running, and how its attempts have ended."""

    async def body() -> None:
        async with looking(place) as services:
            request = coordinator_pb2.ExplainDispatchRequest(project=place.project, task_id=task_id)
            answer = await services.coordinator.ExplainDispatch(request)
            named = queue_pb2.GetTaskRequest(project=place.project, task_id=task_id)
            attempts = (await services.queue.GetTask(named)).task.attempts
        if as_json:
            print_json(as_dict(answer) | {"attempts": [as_dict(one) for one in attempts]})
            return
        click.echo(f"{task_id}: {state_name(answer.state)}")
        for reason in answer.reasons:
            click.echo(f"  {reason.code}: {reason.message}")
        kept = kept_work(place.repo)
        for one in attempts:
            if one.reason:
                why = ": ".join(filter(None, (failure_name(one.reason), one.message)))
                click.echo(f"  attempt {one.number} by {one.worker} ended: {why}")
            if one.reason and (ref := kept_ref(kept, one)):
                click.echo(f"  its work is kept: git log {ref}")
        if answer.candidates:
            _print_candidates(answer)

    run_async(body)


def _print_candidates(answer: coordinator_pb2.ExplainDispatchResponse) -> None:
    rows = []
    for one in answer.candidates:
        now = "can have it" if one.eligible else one.reason.code
        rows.append((one.worker, now, f"{one.score:.10g}", one.reason.message))
    click.echo(f"\nworkers, as {answer.strategy} ranks them:")
    print_table(("worker", "now", "score", "why"), rows)


@task.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@place_options
@json_option
def retry(*, task_ids: Sequence[str], place: Place, as_json: bool) -> None:
    """Make tasks that ended without success ready again, and what was aborted because of them."""

    async def body() -> int:
        async with looking(place) as services:
            before = await _aborted(services)
            request = queue_pb2.RetryTasksRequest(project=place.project, task_ids=task_ids)
            results = list((await services.queue.RetryTasks(request)).results)
            revived = before - await _aborted(services) - set(task_ids)
        pending = queue_pb2.TASK_STATE_PENDING
        results += [queue_pb2.ReportResult(task_id=one, state=pending) for one in sorted(revived)]
        return _print_results(results, as_json=as_json)

    run_async(body)


async def _aborted(services: Services) -> set[str]:
    stored = await tasks_of(services, states=[queue_pb2.TASK_STATE_ABORTED])
    return {task.spec.id for task in stored}


@task.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@place_options
@click.option("--message", default="", help="Why.")
@json_option
def cancel(*, task_ids: Sequence[str], place: Place, message: str, as_json: bool) -> None:
    """End tasks; their agents are stopped, and what depends on them is aborted."""

    async def body() -> int:
        async with looking(place) as services:
            request = queue_pb2.CancelTasksRequest(
                project=place.project, task_ids=task_ids, message=message
            )
            answer = await services.queue.CancelTasks(request)
        return _print_results(answer.results, as_json=as_json)

    run_async(body)


@task.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@place_options
@json_option
def remove(*, task_ids: Sequence[str], place: Place, as_json: bool) -> None:
    """Forget tasks that are not under way, and that no unfinished task depends on.

    What they have cost stays counted, and their work stays kept. A task that its plan still has is
    stored anew when that is run.
    """

    async def body() -> int:
        async with looking(place) as services:
            results = await forget(task_ids, services)
        return _print_results(results, as_json=as_json, done="removed")

    run_async(body)


def _print_results(
    results: Sequence[queue_pb2.ReportResult], *, as_json: bool, done: str = ""
) -> int:
    """Print how each item went, by its state unless `done` says it; return the exit code."""
    if as_json:
        print_json([as_dict(result) for result in results])
    else:
        for result in results:
            error = result.error.message if result.HasField("error") else ""
            click.echo(f"{result.task_id}: {error or done or state_name(result.state)}")
    return EXIT_FAILED if any(result.HasField("error") for result in results) else 0
