"""`coord guard`: whether a path may be edited now."""

import os
import shlex
from pathlib import Path

import click
from coord import guard as asked
from coord.guard import FILE
from coord_host.places import Place

from coord_cli.command import place_options
from coord_cli.guard_hooks import guard_command, guard_folder, make_hooks


@click.command()
@click.argument("paths", nargs=-1)
@place_options
@click.option("--as", "holder", help="Who asks.  [default: this shell, or the worker]")
@click.option("--hooks", is_flag=True, help="Make hooks, and say how to use them.")
@click.pass_context
def guard(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    place: Place,
    holder: str | None,
    hooks: bool,
) -> None:
    """Tell whether PATHS may be edited: whether others claim them, or everything is stopped.

    Exit codes: 0 they may, 1 that cannot be told, 2 they may not, with the reason on stderr.
    """
    if hooks:
        make_hooks(place)
        _tell_hooks(place)
    if paths:
        told = os.environ.get(FILE) or str(guard_folder(place).with_suffix(".json"))
        options = ["--file", told, *(["--as", holder] if holder else [])]
        context.exit(asked.main([*options, *(str(Path(path).absolute()) for path in paths)]))
    if not hooks:
        raise click.UsageError("name PATHS, or say --hooks")


def _tell_hooks(place: Place) -> None:
    folder, command = guard_folder(place), shlex.join(guard_command(place))
    click.echo(f"Claude Code:  claude --settings {shlex.quote(str(folder / 'claude.json'))}")
    click.echo(f"git:          git config core.hooksPath {shlex.quote(str(folder / 'hooks'))}")
    click.echo(f"others:       {command} PATH...")
