"""`coord up`: serves a project until it is told to stop."""

import click
from coord_host.endpoint import Endpoint
from coord_host.overrides import Overrides
from coord_host.places import Place
from coord_host.serving import serve
from coord_runtime import logs

from coord_cli.command import friendly_errors, json_option, place_options, run_async
from coord_cli.output import print_json
from coord_cli.settings import require_check, service_options


@click.command()
@place_options
@click.option("--split", is_flag=True, help="Run each service in a process of its own.")
@click.option("--log-level", default="info", show_default=True, help="Least level of the logs.")
@service_options
@json_option
def up(*, place: Place, split: bool, log_level: str, overrides: Overrides, as_json: bool) -> None:
    """Serve a project: its tasks, its workers and its merge queue.

    `coord run` and `coord worker` attach to it. SIGTERM or Ctrl-C lets the workers finish.
    """
    with friendly_errors():
        require_check(place, overrides)
    logs.configure(log_level)

    def ready(endpoint: Endpoint) -> None:
        if as_json:
            fields = {"pid": endpoint.pid, "addresses": endpoint.addresses}
            print_json({"project": place.project, **fields, "metrics": endpoint.metrics})
        else:
            where = sorted(set(endpoint.addresses.values()))
            click.echo(f"serving {place.project} on {', '.join(where)}")

    run_async(lambda: serve(place, overrides, split=split, ready=ready))
