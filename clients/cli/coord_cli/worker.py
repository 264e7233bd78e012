"""`coord worker`: workers for services that run already."""

import asyncio
import shlex
from pathlib import Path

import click
from coord_host import Place, attach_or_start, find
from coord_runtime import logs
from coord_worker.pool import WorkerPool

from coord_cli.command import (
    EXIT_FAILED,
    Services,
    UsageProblem,
    friendly_errors,
    json_option,
    place_options,
    run_async,
    until_interrupted,
)
from coord_cli.crew import AGENT_HELP, PROVIDER_HELP, Crew, dismiss, make_pool, tell_given_up
from coord_cli.env_file import env_file_option
from coord_cli.output import print_json
from coord_cli.profiles import BUILT_IN, parse_workers

_STOP_S = 15.0


@click.command()
@place_options
@click.option("--workers", default="1", show_default=True, help="A number, or coder=2,tester=1.")
@click.option("--agent", default="", help=AGENT_HELP)
@click.option("--agent-args", default="", help="More arguments for a preset's command.")
@click.option("--agent-provider", default="", help=PROVIDER_HELP)
@click.option("--bucket", "buckets", multiple=True, help="Rate limit that each task counts for.")
@click.option("--worker-prefix", help="What the workers' names begin with.")
@click.option("--drain-timeout", type=click.FloatRange(0), default=60.0, show_default=True)
@env_file_option
@json_option
def worker(
    *,
    place: Place,
    workers: str,
    agent: str,
    agent_args: str,
    agent_provider: str,
    buckets: tuple[str, ...],
    worker_prefix: str | None,
    drain_timeout: float,
    as_json: bool,
) -> None:
    """Run workers until they are drained or interrupted."""
    try:
        profiles, arguments = parse_workers(workers, BUILT_IN), shlex.split(agent_args)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    crew = Crew(profiles, agent, arguments, buckets, worker_prefix, agent_provider)
    with friendly_errors():
        crew.check(place.repo or Path())
        if find(place) is None:
            raise UsageProblem("no services are running; start them with `coord up`")
    logs.configure()
    run_async(lambda: _run(place, crew, drain_timeout, as_json=as_json))


async def _run(place: Place, crew: Crew, drain_s: float, *, as_json: bool) -> int:
    async with attach_or_start(place, {}) as host, until_interrupted() as interrupted:
        services = Services.of(place.project, host)
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
