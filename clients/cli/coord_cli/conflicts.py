"""`coord conflicts`: which worktrees conflict with which, and with the target."""

import asyncio
from collections.abc import Sequence

import click
from coord.v1 import integrator_pb2
from coord_host.endpoint import find
from coord_host.places import Place

from coord_cli.command import Services, following, json_option, place_options, run_async
from coord_cli.output import as_dict, print_json, print_table

_TARGET = "(target)"
_EVERY_S = 1.0
_CLEAN, _MEETS, _SELF = ".", "X", "-"


@click.command()
@place_options
@click.option("--watch", "-w", is_flag=True, help="Go on, and print it again as it changes.")
@json_option
def conflicts(*, place: Place, watch: bool, as_json: bool) -> None:
    """Print which worktrees conflict with which, as git would merge them, and in which files.

    Exit codes: 0 none do, 1 some do.
    """
    run_async(lambda: _conflicts(place, watch=watch, as_json=as_json))


async def _conflicts(place: Place, *, watch: bool, as_json: bool) -> int:
    # Where nothing runs, nothing more will happen.
    watch = watch and find(place) is not None
    shown = None
    async with following(place) as services:
        while True:
            found = await _matrix(services)
            if shown is None or _said(found) != _said(shown):
                _print(found, as_json=as_json)
                shown = found
            if not watch:
                return 1 if found.conflicts else 0
            await asyncio.sleep(_EVERY_S)


async def _matrix(services: Services) -> integrator_pb2.GetConflictMatrixResponse:
    request = integrator_pb2.GetConflictMatrixRequest(project=services.project)
    return await services.integrator.GetConflictMatrix(request)


def _said(found: integrator_pb2.GetConflictMatrixResponse) -> object:
    """Return what is shown of it."""
    return [head.worker for head in found.heads], list(found.conflicts)


def _print(found: integrator_pb2.GetConflictMatrixResponse, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(found))
        return
    names = [head.worker for head in found.heads]
    met = {(one.worker, one.other.worker) for one in found.conflicts}
    print_table(("", *map(_shown, names)), [_row(name, names, met) for name in names])
    for one in found.conflicts:
        paths = ", ".join(one.other.paths)
        click.echo(f"{one.worker} and {_shown(one.other.worker)} conflict in {paths}")


def _row(name: str, names: Sequence[str], met: set[tuple[str, str]]) -> tuple[str, ...]:
    cells = (
        _SELF if other == name else _MEETS if met & {(name, other), (other, name)} else _CLEAN
        for other in names
    )
    return _shown(name), *cells


def _shown(name: str) -> str:
    return name or _TARGET
