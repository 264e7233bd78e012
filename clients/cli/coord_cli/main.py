"""The `coord` command."""

import click

from coord_cli.account import account
from coord_cli.claims import claim, claims
from coord_cli.clean import clean
from coord_cli.completion import completion
from coord_cli.conflicts import conflicts
from coord_cli.cost import cost
from coord_cli.doctor import doctor
from coord_cli.events import events
from coord_cli.guard import guard
from coord_cli.init import init
from coord_cli.logs import logs
from coord_cli.merge import merge_group
from coord_cli.messages import message
from coord_cli.plan_command import plan_group
from coord_cli.rate import rate
from coord_cli.run import run
from coord_cli.status import status
from coord_cli.steering import resume, stop, strategy
from coord_cli.tasks import task
from coord_cli.token import token
from coord_cli.up import up
from coord_cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coord")
def main() -> None:
    """Let many coding agents work on one git repository."""


_COMMANDS = (
    account,
    claim,
    claims,
    clean,
    completion,
    cost,
    conflicts,
    doctor,
    events,
    guard,
    init,
    logs,
    merge_group,
    message,
    plan_group,
    rate,
    resume,
    run,
    status,
    stop,
    strategy,
    task,
    token,
    up,
    worker,
)
for _command in _COMMANDS:
    main.add_command(_command)
