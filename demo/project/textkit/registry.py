"""The commands that the program knows; each is a module with a function `run`."""

from importlib import import_module

COMMANDS = ["words"]


def run(name: str, text: str) -> str:
    """Answer a command."""
    if name not in COMMANDS:
        raise ValueError(f"no command {name!r}; there are {', '.join(COMMANDS)}")
    return str(import_module(f"textkit.{name}").run(text))
