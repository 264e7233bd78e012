"""`coord worker`: workers for services that run already."""

import asyncio
import shlex

import click
from coord.times import SECOND, duration
from coord.v1 import coordinator_pb2, limiter_pb2
from coord_host.attach import attach_or_start
from coord_host.endpoint import find
from coord_host.places import Place
from coord_runtime import logs
from coord_worker.pool import WorkerPool

from coord_cli.agent_check import WorktreeStart
from coord_cli.command import (
    EXIT_FAILED,
    Services,
    UsageProblem,
    friendly_errors,
    group_with_default,
    json_option,
    looking,
    place_options,
    run_async,
    until_interrupted,
)
from coord_cli.crew import AGENT_HELP, PROVIDER_HELP, Crew, dismiss, make_pool, tell_given_up
from coord_cli.env_file import env_file_option
from coord_cli.guard_hooks import guard_folder, make_hooks
from coord_cli.output import as_dict, print_json
from coord_cli.parameters import LENGTH
from coord_cli.profiles import BUILT_IN, parse_workers

_STOP_S = 15.0


@click.group(cls=group_with_default("run"))
def worker() -> None:
    """Run workers, and end them. Without a command: run."""


@worker.command()
@place_options
@click.option("--workers", default="1", show_default=True, help="A number, or coder=2,tester=1.")
@click.option("--agent", default="", help=AGENT_HELP)
@click.option("--agent-args", default="", help="More arguments for a preset's command.")
@click.option("--agent-provider", default="", help=PROVIDER_HELP)
@click.option("--bucket", "buckets", multiple=True, help="Rate limit that each task counts for.")
@click.option("--worker-prefix", help="What the workers' names begin with.")
@click.option("--drain-timeout", type=click.FloatRange(0), default=60.0, show_default=True)
@click.option("--guard", is_flag=True, help="Keep agents from editing what others have claimed.")
@env_file_option
@json_option
def run(
    *,
    place: Place,
    workers: str,
    agent: str,
    agent_args: str,
    agent_provider: str,
    buckets: tuple[str, ...],
    worker_prefix: str | None,
    drain_timeout: float,
    guard: bool,
    as_json: bool,
) -> None:
    """Run workers until they are drained or interrupted."""
    try:
        profiles, arguments = parse_workers(workers, BUILT_IN), shlex.split(agent_args)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    crew = Crew(
        profiles,
        agent,
        arguments,
        buckets,
        worker_prefix,
        agent_provider,
        guard=guard_folder(place) if guard else None,
    )
    with friendly_errors():
        crew.check(WorktreeStart(place))
        if find(place) is None:
            raise UsageProblem("no services are running; start them with `coord up`")
        if guard:
            make_hooks(place)
    logs.configure()
    run_async(lambda: _run(place, crew, drain_timeout, as_json=as_json))


async def _run(place: Place, crew: Crew, drain_s: float, *, as_json: bool) -> int:
    async with attach_or_start(place, {}) as host, until_interrupted() as interrupted:
        services = Services.of(place.project, host)
        for name in crew.buckets:
            # One that is not there is an error: nothing would be limited by it.
            request = limiter_pb2.GetBucketRequest(project=place.project, name=name)
            await services.limiter.GetBucket(request)
        pool = await make_pool(crew, place, host, services)
        pool.start()
        if as_json:
            print_json({"workers": list(pool.states)})
        for name in () if as_json else pool.states:
            click.echo(f"worker {name}")
        try:
            await _work(pool, services, interrupted, drain_s)
        finally:
            await pool.stop(_STOP_S)
    tell_given_up(pool)
    return EXIT_FAILED if pool.errors else 0


async def _work(
    pool: WorkerPool, services: Services, interrupted: asyncio.Event, drain_s: float
) -> None:
    """Wait until all workers are gone; the first interrupt drains, the second ends the wait."""
    working = asyncio.create_task(pool.wait())
    try:
        if await _first(working, interrupted) is working:
            return
        interrupted.clear()
        click.echo("draining; once more stops at once", err=True)
        await dismiss(pool, services, drain_s)
        await _first(working, interrupted)
    finally:
        working.cancel()


async def _first(
    working: asyncio.Task[None], interrupted: asyncio.Event
) -> asyncio.Task[None] | None:
    waiting = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return working if working.done() else None


@worker.command()
@click.argument("names", metavar="WORKER...", nargs=-1, required=True)
@place_options
@click.option(
    "--deadline",
    type=LENGTH,
    default=30 * SECOND,
    metavar="LENGTH",
    help="What is not finished by then is given back.  [default: 30s]",
)
@click.option("--message", default="", help="Why.")
@json_option
def drain(
    *, names: tuple[str, ...], place: Place, deadline: int, message: str, as_json: bool
) -> None:
    """Let workers finish what they have, and go."""

    async def body() -> int:
        async with looking(place) as services:
            request = coordinator_pb2.DrainWorkersRequest(
                project=place.project,
                workers=names,
                deadline=duration(max(deadline, 1)),
                message=message,
            )
            answer = await services.coordinator.DrainWorkers(request)
        if as_json:
            print_json(as_dict(answer))
        elif answer.workers:
            click.echo(f"to finish what they have, and go: {', '.join(answer.workers)}")
        unknown = sorted({*names} - {*answer.workers})
        for name in unknown:
            click.echo(f"coord: no worker {name!r} is there; `coord status` lists them", err=True)
        return EXIT_FAILED if unknown else 0

    run_async(body)


@worker.command()
@click.argument("name", metavar="WORKER")
@place_options
@click.option("--message", default="", help="Why.")
@json_option
def kill(*, name: str, place: Place, message: str, as_json: bool) -> None:
    """End a worker's session now; its work is saved and goes on elsewhere.

    Its process may come back with a new session: `coord worker drain` lets it go for good.
    """

    async def body() -> None:
        async with looking(place) as services:
            request = coordinator_pb2.KillWorkerRequest(
                project=place.project, worker=name, message=message
            )
            answer = await services.coordinator.KillWorker(request)
        if as_json:
            print_json(as_dict(answer))
            return
        tasks = ", ".join(attempt.task_id for attempt in answer.attempts)
        click.echo(f"ended {name}" + (f"; to go on elsewhere: {tasks}" if tasks else ""))

    run_async(body)
