"""`coord doctor`: what is wrong with a repository or its state, and what can be done."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict

import click
from coord_host.endpoint import find
from coord_host.places import Place

from coord_cli.agent_check import WorktreeStart, check_agent
from coord_cli.command import (
    EXIT_FAILED,
    UsageProblem,
    friendly_errors,
    json_option,
    place_options,
)
from coord_cli.findings import Finding
from coord_cli.findings_machine import machine_findings
from coord_cli.findings_repository import repository_findings
from coord_cli.findings_state import state_findings
from coord_cli.findings_work import work_findings
from coord_cli.output import print_json


@click.command()
@place_options
@click.option("--fix", is_flag=True, help="Mend what can be mended without losing anything.")
@click.option("--agent", default="", help="Look whether this agent can be run, too.")
@json_option
def doctor(*, place: Place, fix: bool, agent: str, as_json: bool) -> None:
    """Look for what hinders Coord here: git, the repository, the state folder, agents.

    Exit codes: 0 nothing is wrong, or all of it was mended; 1 something is.
    """
    with friendly_errors():
        running = find(place) is not None
        found = [*_findings(place, running=running), *_agent(agent, place)]
        if place.repo is not None and not any(one.wrong for one in found):
            # What is wrong may be what the stores cannot be asked for.
            found += _work(place, running=running)
        fixed = [one for one in found if fix and one.mend is not None]
        for one in fixed:
            if one.mend is not None:
                one.mend()
    if as_json:
        print_json({"running": running, "findings": [_row(one, fixed) for one in found]})
    else:
        _tell(found, fixed, place, running=running)
    left = [one for one in found if one.wrong and one not in fixed]
    raise SystemExit(EXIT_FAILED if left else 0)


def _findings(place: Place, *, running: bool) -> Iterator[Finding]:
    yield from machine_findings(place)
    if place.repo is not None:
        yield from repository_findings(place, place.repo, running=running)
    yield from state_findings(place)


def _work(place: Place, *, running: bool) -> list[Finding]:
    there = (place.state / "queue").is_dir()
    return asyncio.run(work_findings(place, running=running)) if there else []


def _agent(name: str, place: Place) -> Iterator[Finding]:
    try:
        if name:
            check_agent(name, (), WorktreeStart(place))
    except UsageProblem as problem:
        yield Finding(str(problem), "no attempt could begin", "name another with --agent")


def _row(finding: Finding, fixed: list[Finding]) -> dict[str, object]:
    row = asdict(finding)
    del row["mend"]
    return row | {"fixed": finding in fixed}


def _tell(found: list[Finding], fixed: list[Finding], place: Place, *, running: bool) -> None:
    click.echo(f"{place.repo or place.project}; state in {place.state}")
    click.echo("services are running" if running else "no services are running")
    for one in found:
        mark = "fixed" if one in fixed else "wrong" if one.wrong else "note"
        click.echo(f"\n{mark}: {one.what}\n    why it matters: {one.why}")
        if one.remedy and one not in fixed:
            click.echo(f"    {'--fix would' if one.mend else 'what to do'}: {one.remedy}")
    if not any(one.wrong for one in found):
        click.echo("\nnothing is wrong")
