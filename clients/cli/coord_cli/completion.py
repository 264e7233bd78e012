"""`coord completion`: the shell completes commands and options."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete `coord`; for its start-up file.

    For bash: eval "$(coord completion bash)".
    """
    root = context.find_root()
    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(root.command, {}, "coord", "_COORD_COMPLETE").source())
