"""`--env-file`: variables for the set-up, the check and the agents."""

import os
from pathlib import Path

import click
from dotenv import dotenv_values

_OWN = ("COORD_", "GIT_")


def load_env_files(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> None:
    """Add the variables of files to this process's environment, which all that it starts inherit.

    Their values are never printed.

    Raises:
        BadParameter: A line gives no value, or names what git or Coord go by.
    """
    for path in paths:
        for name, value in dotenv_values(path, interpolate=False).items():
            if value is None:
                raise click.BadParameter(f"{path}: {name!r} has no value: write NAME=VALUE")
            if name.startswith(_OWN):
                raise click.BadParameter(f"{path}: {name} would mislead git or Coord: take it out")
            os.environ[name] = value


env_file_option = click.option(
    "--env-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    expose_value=False,
    callback=load_env_files,
    help="File of NAME=VALUE lines for set-up, check and agents.",
)
