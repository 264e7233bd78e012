"""`coord run`: a plan, from its file to its summary."""

import asyncio
import contextlib
import io
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO, cast

import click
import grpc
import grpc.aio
import structlog
from coord.environment import SYSTEM
from coord.times import from_seconds
from coord_host import Host, Overrides, Place, attach_or_start, find

from coord_cli.command import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    Services,
    friendly_errors,
    json_option,
    place_options,
    run_async,
)
from coord_cli.crew import AGENT_HELP, PROVIDER_HELP, Crew, dismiss, make_pool, tell_given_up
from coord_cli.job import (
    TRANSIENT,
    Ending,
    Interrupts,
    Job,
    Outcome,
    Patience,
    add_plan,
    retry_failed,
)
from coord_cli.output import console, print_json
from coord_cli.plan import Plan, load_plan
from coord_cli.profiles import parse_workers
from coord_cli.settings import require_check, service_options
from coord_cli.snapshot import take
from coord_cli.summary import as_json, print_summary, summarize
from coord_cli.view import make_view

_STOP_S = 15.0
_HOST_DRAIN_S = 10.0
# A host that another command ends answers no more, but holds its place while it drains.
_TROUBLE_S = 60.0
_AGAIN_S = 0.2
_END_S = 5.0
_BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
_LOG_BYTES_MAX = 8 * 2**20


@dataclass(frozen=True)
class Order:
    """What the user has asked for."""

    place: Place
    plan: Plan
    crew: Crew
    overrides: Overrides
    patience: Patience
    retry_failed: bool
    as_json: bool


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@place_options
@click.option("--workers", default="4", show_default=True, help="A number, or coder=2,tester=1.")
@click.option("--agent", default="", help=AGENT_HELP)
@click.option("--agent-args", default="", help="More arguments for a preset's command.")
@click.option("--agent-provider", default="", help=PROVIDER_HELP)
@click.option("--worker-prefix", help="What the workers' names begin with.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds that agents have to finish after Ctrl-C.",
)
@click.option(
    "--stuck-after",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Seconds after which the run ends if nothing can go on.",
)
@service_options
@json_option
def run(
    *,
    plan: Path,
    place: Place,
    workers: str,
    agent: str,
    agent_args: str,
    agent_provider: str,
    worker_prefix: str | None,
    retry_failed: bool,
    drain_timeout: float,
    stuck_after: float,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Run a plan's tasks with agents in parallel, and land what passes the check.

    The same command again goes on with what is left. Exit codes: 0 everything landed, 1 something
    did not, 2 nothing was started because something has to be put right first, 130 interrupted.
    """
    with friendly_errors():
        loaded = load_plan(plan)
        crew = _crew(loaded, workers, agent, agent_args)
        crew = replace(crew, prefix=worker_prefix, provider=agent_provider)
        loaded.check_capabilities(list(crew.profiles))
        crew.check(place.repo or Path())
        require_check(place, overrides)
    patience = Patience(drain_s=drain_timeout, stuck_s=stuck_after)
    order = Order(place, loaded, crew, overrides, patience, retry_failed, as_json)
    run_async(lambda: _run(order))


def _crew(plan: Plan, workers: str, agent: str, agent_args: str) -> Crew:
    try:
        profiles, arguments = parse_workers(workers, plan.profiles), shlex.split(agent_args)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Crew(profiles, agent, arguments, tuple(plan.content.limits))


async def _run(order: Order) -> int:
    with _logs_to(order.place.state / "run.log"):
        errand = _Errand(order)
        while True:
            # Services that ran elsewhere may have gone: then others do, or this process does.
            async with attach_or_start(order.place, order.overrides) as host:
                outcome = await errand.go_on(host)
                if outcome is not None:
                    await host.drain(_HOST_DRAIN_S)
                    return _status(outcome)
            require_check(order.place, order.overrides)


class _Errand:
    """Brings a run to its summary, on as many hosts as that takes."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._begun_ns = SYSTEM.monotonic_ns()
        self._trouble_since_ns: int | None = None
        self._to_retry = order.retry_failed
        self._outcome: Outcome | None = None

    async def go_on(self, host: Host) -> Outcome | None:
        """Return what came of the run, once it is told; None to find the services anew.

        Raises:
            AioRpcError: Asking again does not help.
        """
        try:
            return await self._work_and_tell(host)
        except grpc.aio.AioRpcError as error:
            if host.embedded or not await self._may_pass(error.code(), host):
                raise
        return None

    async def _work_and_tell(self, host: Host) -> Outcome | None:
        services = Services.of(self._order.place.project, host)
        if self._outcome is None:
            await add_plan(self._order.plan, services)
            if self._to_retry:
                await retry_failed(self._order.plan, services)
                self._to_retry = False
            outcome = await _work(self._order, host, services)
            self._trouble_since_ns = None
            if outcome.ending is Ending.SERVICES_LOST:
                return None
            self._outcome = outcome
        elapsed_ns = SYSTEM.monotonic_ns() - self._begun_ns
        await _tell(self._order, services, self._outcome, elapsed_ns)
        return self._outcome

    async def _may_pass(self, code: grpc.StatusCode, host: Host) -> bool:
        """Return whether an error may come from the end of services elsewhere, after a while."""
        if code in TRANSIENT:
            await asyncio.sleep(_AGAIN_S)
            now_ns = SYSTEM.monotonic_ns()
            self._trouble_since_ns = self._trouble_since_ns or now_ns
            return now_ns - self._trouble_since_ns <= from_seconds(_TROUBLE_S)
        # What a host has begun to answer when it stops can break in any way.
        until_ns = SYSTEM.monotonic_ns() + from_seconds(_END_S if code in _BROKEN else 0)
        while await _still_there(self._order.place, host):
            if SYSTEM.monotonic_ns() >= until_ns:
                return False
            await asyncio.sleep(_AGAIN_S)
        return True


async def _work(order: Order, host: Host, services: Services) -> Outcome:
    """Run the workers until the run has ended; none is left afterwards."""
    snapshot = await take(services, order.plan.name)
    if snapshot.finished:
        return Outcome(Ending.FINISHED, snapshot)
    pool = await make_pool(order.crew, order.place, host, services)
    with _interrupts() as interrupts, make_view(console(), quiet=order.as_json) as view:
        pool.start()
        try:
            job = Job(
                order.plan.name,
                services,
                pool,
                interrupts=interrupts,
                show=view.show,
                still_there=lambda: _still_there(order.place, host),
                patience=order.patience,
            )
            return await job.follow(snapshot)
        finally:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await dismiss(pool, services, 0)
            await pool.stop(_STOP_S)
            tell_given_up(pool)


async def _still_there(place: Place, host: Host) -> bool:
    endpoint = await asyncio.to_thread(find, place)
    return endpoint is not None and endpoint.addresses == host.addresses


async def _tell(order: Order, services: Services, outcome: Outcome, elapsed_ns: int) -> None:
    # What the workers gave back when they were stopped has changed how things stand.
    latest = Outcome(outcome.ending, await take(services, order.plan.name), outcome.stuck)
    summary = await summarize(services, order.place.repo, latest, elapsed_ns)
    if order.as_json:
        print_json(as_json(summary))
    else:
        print_summary(summary)


def _status(outcome: Outcome) -> int:
    if outcome.ending is Ending.INTERRUPTED:
        return EXIT_INTERRUPTED
    return 0 if outcome.snapshot.all_landed else EXIT_FAILED


@contextlib.contextmanager
def _interrupts() -> Iterator[Interrupts]:
    """Count Ctrl-C and SIGTERM instead of dying of them."""
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupts.add)
    try:
        yield interrupts
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class _LogFile:
    """A log on a disk that may be full: that costs its lines, not the run."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write what there is room for."""
        with contextlib.suppress(OSError):
            self._file.write(text.encode())

    def flush(self) -> None:
        """Do nothing: nothing is held back."""


@contextlib.contextmanager
def _logs_to(path: Path) -> Iterator[None]:
    """Keep the services' logs out of the view, in a file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab", buffering=0) as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LogFile(file))),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.reset_defaults()
