"""Options that become settings of the services."""

import functools
import os
from collections.abc import Callable
from typing import Any

import click
from coord_coordinator.strategies import STRATEGIES
from coord_host.endpoint import find
from coord_host.overrides import Overrides
from coord_host.places import Place

from coord_cli.command import UsageProblem
from coord_cli.env_file import env_file_option

_CHECK_VARIABLES = ("COORD_INTEGRATOR_CHECK", "COORD_INTEGRATOR_NO_CHECK")


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set how services behave, as the argument `overrides`."""

    @click.option("--check", help="Command that a merged tree must pass before it lands.")
    @click.option("--no-check", is_flag=True, help="Land without any check.")
    @click.option(
        "--check-slots",
        type=click.IntRange(1, 64),
        help="How many checks may run at once.  [default: 2]",
    )
    @click.option("--target", help="Branch to land on.  [default: the one that HEAD names]")
    @click.option("--setup", help="Command to run in a new worktree before an agent starts.")
    @env_file_option
    @click.option(
        "--strategy",
        type=click.Choice(sorted(STRATEGIES)),
        help="Who gets a task.",
    )
    @click.option(
        "--account", help="Account whose rate limits and money are shared; see `coord account`."
    )
    @click.option(
        "--metrics-port",
        type=click.IntRange(0, 65_535),
        help="Port of the metrics; of the first service with --split.",
    )
    @click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Any other setting of a service, such as queue.lease_s=30.",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, overrides=_overrides(kwargs), **kwargs)

    return wrapped


def _overrides(options: dict[str, Any]) -> Overrides:
    """Take the options above out of `options`, and return them as settings by section."""
    check, no_check = options.pop("check"), options.pop("no_check")
    if check is not None and not check.strip():
        raise click.UsageError("--check is empty; say --no-check to land without one")
    if check and no_check:
        raise click.UsageError("--check and --no-check contradict each other")
    port = options.pop("metrics_port")
    given = (
        ("integrator", "check", check),
        ("integrator", "no_check", no_check or None),
        ("integrator", "check_slots", options.pop("check_slots")),
        ("integrator", "target", options.pop("target")),
        ("integrator", "setup", options.pop("setup")),
        ("coordinator", "strategy", options.pop("strategy")),
        ("coordinator", "account", options.pop("account")),
        ("node", "metrics", None if port is None else f"127.0.0.1:{port}"),
        *map(_setting, options.pop("settings")),
    )
    found: Overrides = {}
    for section, key, value in given:
        if value is not None:
            found.setdefault(section, {})[key] = value
    return found


def _setting(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise click.UsageError(f"--set {text!r}: write it as section.key=value")
    from coord_host.sections import SECTIONS  # noqa: PLC0415 - slow; few set anything.

    if section not in SECTIONS:
        known = ", ".join(SECTIONS)
        raise click.UsageError(
            f"--set {text!r}: there is no section {section!r}; there are {known}"
        )
    return section, key, value


def require_check(place: Place, overrides: Overrides) -> None:
    """Raise UsageProblem where nobody has said how changes are checked.

    Services that run already were told when they were started.
    """
    asked = overrides.get("integrator", {})
    given = asked.get("check") or asked.get("no_check")
    if given or any(os.environ.get(name) for name in _CHECK_VARIABLES) or find(place) is not None:
        return
    raise UsageProblem(
        "no check: say how a merged tree is tested, such as --check 'pytest -q', or --no-check to"
        " land whatever merges"
    )
