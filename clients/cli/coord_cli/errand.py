"""Brings a run to its summary, on as many hosts as that takes."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import grpc
import grpc.aio
from coord.environment import SYSTEM
from coord.times import from_seconds
from coord.v1 import queue_pb2
from coord_host.attach import Host, attach_or_start
from coord_host.endpoint import find, last_overrides
from coord_host.overrides import Overrides, merged
from coord_host.places import Place

from coord_cli.adding import add_plan, retry_failed
from coord_cli.check_runs import check_target
from coord_cli.checkout_watch import CheckoutWatch
from coord_cli.choice import check_needs, landed_tasks, others
from coord_cli.command import EXIT_FAILED, EXIT_INTERRUPTED, Services
from coord_cli.crew import Crew, dismiss, make_pool, tell_given_up
from coord_cli.edits import find_edits
from coord_cli.job import (
    TRANSIENT,
    Ending,
    Interrupts,
    Job,
    Outcome,
    Patience,
)
from coord_cli.output import console, print_json
from coord_cli.plan import RUN_LABEL, Plan
from coord_cli.report import Report, collect
from coord_cli.report_files import default_folder, write_report
from coord_cli.settings import require_check
from coord_cli.snapshot import FINAL, Snapshot, take, tasks_of
from coord_cli.summary import as_json, print_summary, summarize
from coord_cli.view import make_view
from coord_cli.watch import PlanWatch

_STOP_S = 15.0
_HOST_DRAIN_S = 10.0
# A host that another command ends answers no more, but holds its place while it drains.
_TROUBLE_S = 60.0
_AGAIN_S = 0.2
_END_S = 5.0
_BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})


@dataclass(frozen=True)
class Order:
    """What the user has asked for.

    Attributes:
        place: The project.
        plan: The plan.
        crew: The workers.
        overrides: Settings of the services by section.
        patience: How long to wait.
        retry_failed: Whether what has failed in an earlier run is tried again.
        as_json: Whether the summary is for programs.
        report: Folder of the report; None for a new one in the state folder.
        reload: Reads the plan again, in order to watch it; None to end with its tasks.
    """

    place: Place
    plan: Plan
    crew: Crew
    overrides: Overrides
    patience: Patience
    retry_failed: bool
    as_json: bool
    report: Path | None = None
    reload: Callable[[], Plan] | None = None


async def run_to_end(order: Order) -> int:
    """Run a plan, tell what came of it, and return the exit code."""
    errand, overrides = Errand(order), order.overrides
    gone: Mapping[str, str] = {}
    while True:
        # Services that ran elsewhere may have gone: then others do, or this process does.
        async with attach_or_start(order.place, overrides) as host:
            outcome = await errand.go_on(host)
            if outcome is not None:
                await host.drain(_HOST_DRAIN_S)
                return _status(outcome)
        if host.addresses != gone:
            # While they end, they are found once more.
            click.echo("coord: the services have gone; the run goes on with others", err=True)
        gone = host.addresses
        overrides = order.overrides
        if find(order.place) is None:
            overrides = merged(last_overrides(order.place), overrides)
        require_check(order.place, overrides)


class Errand:
    """Brings a run to its summary, on as many hosts as that takes."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._begun_ns = SYSTEM.monotonic_ns()
        self._trouble_since_ns: int | None = None
        self._has_begun = False
        self._outcome: Outcome | None = None
        self._checkout: CheckoutWatch | None = None
        self._watch = None if order.reload is None else PlanWatch(order.plan, order.reload)

    @property
    def _plan(self) -> Plan:
        return self._order.plan if self._watch is None else self._watch.plan

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
            if not self._has_begun:
                await self._begin(services)
                self._has_begun = True
            outcome = await self._work(host, services)
            self._trouble_since_ns = None
            if outcome.ending is Ending.SERVICES_LOST:
                return None
            self._outcome = outcome
        elapsed_ns = SYSTEM.monotonic_ns() - self._begun_ns
        await self._tell(services, self._outcome, elapsed_ns)
        return self._outcome

    async def _begin(self, services: Services) -> None:
        plan, again = self._plan, self._order.retry_failed
        if plan.chosen is not None:
            check_needs(plan, await landed_tasks(services))
        edits = await find_edits(plan, services, again=again)
        if await self._has_work(services):
            await check_target(services)
        await add_plan(await edits.make_room(plan, services), services)
        if again:
            await retry_failed(plan, services)
        for line in [*edits.lines(), *await others(plan, services)]:
            click.echo(f"coord: {line}", err=True)

    async def _has_work(self, services: Services) -> bool:
        states = [queue_pb2.TASK_STATE_COMPLETE] if self._order.retry_failed else list(FINAL)
        ended = await tasks_of(services, labels={RUN_LABEL: self._plan.name}, states=states)
        return not {task.id for task in self._plan.tasks} <= {task.spec.id for task in ended}

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

    async def _work(self, host: Host, services: Services) -> Outcome:
        """Run the workers until the run has ended; none is left afterwards."""
        order, plan = self._order, self._plan
        snapshot = await take(services, plan.name, plan.chosen)
        if snapshot.finished and self._watch is None:
            return Outcome(Ending.FINISHED, snapshot)
        if order.place.repo is not None and self._checkout is None:
            target = snapshot.merge_queue.target
            self._checkout = await asyncio.to_thread(CheckoutWatch, order.place.repo, target)
        pool = await make_pool(order.crew, order.place, host, services)
        with _interrupts() as interrupts, make_view(console(), apart=order.as_json) as view:
            pool.start()
            try:
                job = Job(
                    services,
                    pool,
                    look=lambda: self._look(services),
                    interrupts=interrupts,
                    show=view.show,
                    still_there=lambda: _still_there(order.place, host),
                    patience=order.patience,
                    watch=self._watch,
                )
                return await job.follow(snapshot)
            finally:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await dismiss(pool, services, 0)
                await pool.stop(_STOP_S)
                tell_given_up(pool)

    async def _look(self, services: Services) -> Snapshot:
        snapshot = await take(services, self._plan.name, self._plan.chosen)
        if self._checkout is not None:
            await asyncio.to_thread(self._checkout.note, snapshot)
        return snapshot

    async def _tell(self, services: Services, outcome: Outcome, elapsed_ns: int) -> None:
        order, plan = self._order, self._plan
        # What the workers gave back when they were stopped has changed how things stand.
        latest = Outcome(outcome.ending, await self._look(services), outcome.stuck)
        strays = [] if self._checkout is None else await asyncio.to_thread(self._checkout.strays)
        summary = await summarize(services, order.place.repo, latest, elapsed_ns, strays)
        report = await collect(services, summary, order.place.repo)
        folder = order.report or default_folder(order.place.state, plan.name)
        if order.as_json:
            print_json(as_json(summary) | {"report": _write(report, folder)})
        else:
            print_summary(summary)
            click.echo(f"report: {_write(report, folder) or 'none'}")


def _write(report: Report, folder: Path) -> str:
    """Write the report and return its path; empty where that fails, which ends no run."""
    try:
        return str(write_report(report, folder))
    except OSError as error:
        click.echo(f"coord: the report could not be written: {error}", err=True)
        return ""


async def _still_there(place: Place, host: Host) -> bool:
    endpoint = await asyncio.to_thread(find, place)
    return endpoint is not None and endpoint.addresses == host.addresses


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
