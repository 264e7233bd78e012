"""The `coord` command."""

import pkgutil
import sys
from typing import Any

import click

# As `coord_cli.command` has it, which takes long to import.
_INTERRUPTED = 130
_COMMANDS = {
    "account": "coord_cli.account:account",
    "claim": "coord_cli.claims:claim",
    "claims": "coord_cli.claims:claims",
    "clean": "coord_cli.clean:clean",
    "completion": "coord_cli.completion:completion",
    "conflicts": "coord_cli.conflicts:conflicts",
    "cost": "coord_cli.cost:cost",
    "doctor": "coord_cli.doctor:doctor",
    "events": "coord_cli.events:events",
    "guard": "coord_cli.guard:guard",
    "init": "coord_cli.init:init",
    "logs": "coord_cli.logs:logs",
    "merge": "coord_cli.merge:merge_group",
    "message": "coord_cli.messages:message",
    "plan": "coord_cli.plan_command:plan_group",
    "rate": "coord_cli.rate:rate",
    "resume": "coord_cli.steering:resume",
    "run": "coord_cli.run:run",
    "status": "coord_cli.status:status",
    "stop": "coord_cli.steering:stop",
    "strategy": "coord_cli.steering:strategy",
    "task": "coord_cli.tasks:task",
    "token": "coord_cli.token:token",
    "up": "coord_cli.up:up",
    "worker": "coord_cli.worker:worker",
}


class _Commands(click.Group):
    """The commands, each imported when it is needed: what one needs, most others do not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        where = _COMMANDS.get(cmd_name)
        return None if where is None else pkgutil.resolve_name(where)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=_COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Before the command itself could take care of it.
            sys.exit(_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coord")
def main() -> None:
    """Let many coding agents work on one git repository."""
