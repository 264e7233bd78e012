"""The settings that were asked for, by section, and how they compare with those that are there."""

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from coord.errors import failed_precondition

from coord_host.endpoint import Endpoint
from coord_host.places import Place, locate_account

Overrides = dict[str, dict[str, Any]]

# What decides whether the target is to be checked anew.
_OF_THE_CHECK = (
    ("coordinator", "account"),
    ("integrator", "check"),
    ("integrator", "no_check"),
    ("integrator", "target"),
)
# The options of `coord run` and `coord up` that have a name of their own.
_OPTIONS = {
    ("coordinator", "account"): "--account",
    ("coordinator", "strategy"): "--strategy",
    ("integrator", "check"): "--check",
    ("integrator", "check_slots"): "--check-slots",
    ("integrator", "no_check"): "--no-check",
    ("integrator", "setup"): "--setup",
    ("integrator", "target"): "--target",
    ("node", "metrics"): "--metrics-port",
}


def account_of(overrides: Overrides) -> Place | None:
    """Return the account that settings name, if they do."""
    name = overrides.get("coordinator", {}).get("account")
    return locate_account(name) if name else None


def check_same(endpoint: Endpoint, overrides: Overrides) -> None:
    """Refuse what running services were not started with: it would silently not hold.

    Raises:
        CoordError: FAILED_PRECONDITION with reason RUNNING_OTHERWISE.
    """
    asked = [(section, key) for section, values in overrides.items() for key in values]
    there = endpoint.overrides
    for section, key in _different(there, overrides, (*_OF_THE_CHECK, *asked)):
        running, wanted = _option(there, section, key), _option(overrides, section, key)
        if key == "no_check" and there.get("integrator", {}).get("check"):
            running = _option(there, section, "check")
        raise failed_precondition(
            "RUNNING_OTHERWISE",
            f"the running services (process {endpoint.pid}) were started with {running}, not"
            f" {wanted}; drop {wanted}, or end them first",
        )


def _option(settings: Overrides, section: str, key: str) -> str:
    """Return how a setting is written on a command line."""
    value, name = settings.get(section, {}).get(key), _OPTIONS.get((section, key))
    if name is None:
        return f"no {section}.{key}" if value is None else f"--set {section}.{key}={value}"
    if value is None:
        return f"no {name}"
    if key == "metrics":
        value = str(value).rpartition(":")[2]
    return name if value is True else f"{name} {shlex.quote(str(value))}"


def merged(there: Overrides, asked: Overrides) -> Overrides:
    """Return the settings that were there, with those that were asked for on top."""
    sections = {*there, *asked}
    return {name: there.get(name, {}) | asked.get(name, {}) for name in sections}


def is_checked_alike(there: Overrides, asked: Overrides) -> bool:
    """Tell whether what was asked for changes nothing of how the target is checked."""
    return not list(_different(there, asked, _OF_THE_CHECK))


def _different(
    there: Overrides, asked: Overrides, settings: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yield the settings that were asked for, and are not so there."""
    for section, key in settings:
        wanted = asked.get(section, {}).get(key)
        if wanted is not None and str(wanted) != str(there.get(section, {}).get(key)):
            yield section, key
