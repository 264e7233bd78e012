"""`coord token`: what a worker needs that Coord does not start."""

import shlex

import click
from coord_host.attach import attach_or_start, shell_worker
from coord_host.endpoint import find
from coord_host.places import Place

from coord_cli.command import UsageProblem, json_option, place_options, run_async, whose_shell
from coord_cli.output import print_json


@click.command()
@click.argument("worker")
@place_options
@json_option
def token(*, worker: str, place: Place, as_json: bool) -> None:
    """Print the address, the project and a token for a WORKER of your own.

    For the shell: eval "$(coord token NAME)". The token acts for the worker of that name alone.
    """
    run_async(lambda: _token(place, worker, as_json=as_json))


async def _token(place: Place, worker: str, *, as_json: bool) -> None:
    if find(place) is None:
        raise UsageProblem(
            "no services are running for a worker to join; start them with `coord up`"
        )
    if there := shell_worker(place):
        said = f"only the operator gives out tokens, and this shell is worker {there!r}'s"
        raise UsageProblem(said + whose_shell())
    async with attach_or_start(place, {}) as host:
        variables = {
            "COORD_ADDRESS": host.addresses["coordinator"],
            "COORD_PROJECT": place.project,
            "COORD_WORKER": worker,
            "COORD_TOKEN": host.mint_worker(worker),
        }
    if as_json:
        print_json(variables)
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
