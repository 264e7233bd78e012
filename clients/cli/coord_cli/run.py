"""`coord run`: a plan, from its file to its summary."""

import shlex
from dataclasses import replace
from pathlib import Path

import click
from coord_host.overrides import Overrides
from coord_host.places import Place

from coord_cli.agent_check import WorktreeStart, check_setup
from coord_cli.choice import choose
from coord_cli.command import friendly_errors, json_option, place_options, run_async
from coord_cli.crew import AGENT_HELP, PROVIDER_HELP, Crew
from coord_cli.dry_run import tell_dry_run
from coord_cli.errand import Order, run_to_end
from coord_cli.guard_hooks import guard_folder, make_hooks
from coord_cli.job import Patience
from coord_cli.plan import Plan, load_plan
from coord_cli.profiles import parse_workers
from coord_cli.run_log import logs_to
from coord_cli.settings import require_check, service_options


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@place_options
@click.option("--workers", default="4", show_default=True, help="A number, or coder=2,tester=1.")
@click.option("--agent", default="", help=AGENT_HELP)
@click.option("--agent-args", default="", help="More arguments for a preset's command.")
@click.option("--agent-provider", default="", help=PROVIDER_HELP)
@click.option("--worker-prefix", help="What the workers' names begin with.")
@click.option("--guard", is_flag=True, help="Keep agents from editing what others have claimed.")
@click.option("--help-others", is_flag=True, help="Take tasks of other runs, too.")
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
@click.option(
    "--only", multiple=True, metavar="ID|GLOB", help="Only these tasks; may be given repeatedly."
)
@click.option("--until", multiple=True, metavar="ID", help="Only this task and all that it needs.")
@click.option("--with-deps", is_flag=True, help="Take along what the tasks of --only need.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--watch", is_flag=True, help="Take up what is added to the plan, until Ctrl-C.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: a new one in the state folder]",
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
    guard: bool,
    help_others: bool,
    retry_failed: bool,
    drain_timeout: float,
    stuck_after: float,
    only: tuple[str, ...],
    until: tuple[str, ...],
    with_deps: bool,
    dry_run: bool,
    watch: bool,
    report: Path | None,
    overrides: Overrides,
    as_json: bool,
) -> None:
    """Run a plan's tasks with agents in parallel, and land what passes the check.

    The same command again goes on with what is left. Exit codes: 0 everything landed, 1 something
    did not, 2 nothing was started because something has to be put right first, 130 interrupted.
    """
    if with_deps and not only:
        raise click.UsageError("--with-deps goes with --only")
    with friendly_errors():
        first = load_plan(plan)
        crew = replace(
            _crew(first, workers, agent, agent_args),
            prefix=worker_prefix,
            provider=agent_provider,
            runs=() if help_others else (first.name,),
            guard=guard_folder(place) if guard else None,
        )

        def load() -> Plan:
            chosen = choose(load_plan(plan), only, until, with_deps=with_deps)
            chosen.check_capabilities(list(crew.profiles))
            return chosen

        loaded = load()
        start = WorktreeStart(place, overrides)
        crew.check(start)
        check_setup(start)
        require_check(place, overrides)
    order = Order(
        place,
        loaded,
        crew,
        overrides,
        Patience(drain_s=drain_timeout, stuck_s=stuck_after),
        retry_failed,
        as_json,
        report,
        load if watch else None,
    )
    if dry_run:
        run_async(lambda: tell_dry_run(order))
    with friendly_errors(), logs_to(place.state / "run.log"):
        if guard:
            make_hooks(place)
        run_async(lambda: run_to_end(order))


def _crew(plan: Plan, workers: str, agent: str, agent_args: str) -> Crew:
    try:
        profiles, arguments = parse_workers(workers, plan.profiles), shlex.split(agent_args)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Crew(profiles, agent, arguments, tuple(plan.content.limits))
