"""`coord account`: rate limits and money that several repositories share."""

from pathlib import Path

import click
from coord_host.endpoint import Endpoint
from coord_host.overrides import Overrides
from coord_host.places import locate_account
from coord_host.serving import serve
from coord_runtime import logs

from coord_cli.command import friendly_errors, json_option, run_async
from coord_cli.output import print_json


@click.command()
@click.argument("name")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with prices of models of your own.",
)
@click.option("--log-level", default="info", show_default=True, help="Least level of the logs.")
@json_option
def account(*, name: str, prices: Path | None, log_level: str, as_json: bool) -> None:
    """Serve the rate limits and the money of an account that several repositories share.

    Start it once and leave it running; `coord run --account NAME` and `coord up --account NAME`
    attach to it. Buckets whose names begin with `account/` are one for all of them, and so is what
    is spent on the scope `account/NAME`.
    """
    with friendly_errors():
        place = locate_account(name)
    logs.configure(log_level)
    overrides: Overrides = {} if prices is None else {"ledger": {"prices": str(prices)}}

    def ready(endpoint: Endpoint) -> None:
        if as_json:
            print_json({"account": name, "pid": endpoint.pid, "addresses": endpoint.addresses})
        else:
            click.echo(f"serving the account {name}")

    run_async(lambda: serve(place, overrides, split=False, ready=ready))
