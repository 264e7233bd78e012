"""The `coord` command."""

import click

from coord_cli.events import events
from coord_cli.logs import logs
from coord_cli.plan_command import plan_group
from coord_cli.run import run
from coord_cli.status import status
from coord_cli.tasks import task
from coord_cli.token import token
from coord_cli.up import up
from coord_cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coord")
def main() -> None:
    """Let many coding agents work on one git repository."""


for _command in (events, logs, plan_group, run, status, task, token, up, worker):
    main.add_command(_command)
