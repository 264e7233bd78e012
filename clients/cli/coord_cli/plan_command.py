"""`coord plan`: checking, drawing and importing plans. Nothing is started or stored by it."""

from pathlib import Path
from typing import BinaryIO

import click

from coord_cli.command import EXIT_USAGE, friendly_errors, json_option
from coord_cli.output import print_json
from coord_cli.plan import load_plan
from coord_cli.plan_drawing import FORMATS, draw
from coord_cli.plan_import import FORMS, import_plan, write_plan
from coord_cli.plan_problems import PlanError
from coord_cli.plan_shape import shape_json, shape_lines, shape_of

_plan_argument = click.argument("plan", metavar="PLAN", type=click.Path(path_type=Path))


@click.group("plan")
def plan_group() -> None:
    """Check, draw and import plans."""


@plan_group.command()
@_plan_argument
@json_option
def check(*, plan: Path, as_json: bool) -> None:
    """Tell all that is wrong with a plan, or what it amounts to.

    Exit codes: 0 it is good, 2 it is not.
    """
    with friendly_errors():
        try:
            loaded = load_plan(plan)
        except PlanError as error:
            if not as_json:
                raise
            print_json({"plan": str(plan), "problems": error.as_json()})
            raise SystemExit(EXIT_USAGE) from error
    shape = shape_of(loaded)
    if as_json:
        print_json({"plan": loaded.name, "problems": [], **shape_json(shape)})
        return
    click.echo(f"{loaded.name} is good")
    for line in shape_lines(shape):
        click.echo(line)


@plan_group.command()
@_plan_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@json_option
def graph(*, plan: Path, form: str, as_json: bool) -> None:
    """Show which task waits for which."""
    with friendly_errors():
        click.echo(draw(shape_of(load_plan(plan)), "json" if as_json else form))


@plan_group.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--from", "form", type=click.Choice(FORMS), help="Its form.  [default: as it looks]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File of the plan.")
@click.option("--force", is_flag=True, help="Write over the file.")
@json_option
def import_(
    *, file: BinaryIO, form: str | None, output: Path | None, force: bool, as_json: bool
) -> None:
    """Make a plan of issues: those of beads (issues.jsonl) or of GitHub.

    GitHub's come from `gh issue list --json number,title,body,labels,state`. FILE `-` is standard
    input. What cannot be said in a plan is told on standard error.
    """
    with friendly_errors():
        imported = import_plan(file.read(), form)
        for line in imported.notes:
            click.echo(f"coord: {line}", err=True)
        write_plan(imported.content, output, as_json=as_json, force=force)
