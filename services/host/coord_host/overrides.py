"""The settings that were asked for, by section, and how they compare with those that are there."""

import shlex
from typing import Any

from coord.errors import failed_precondition

from coord_host.endpoint import Endpoint
from coord_host.places import Place, locate_account

Overrides = dict[str, dict[str, Any]]

# What a running host was started with, and a newcomer may not silently do without.
_BINDING = (
    ("coordinator", "account"),
    ("integrator", "check"),
    ("integrator", "no_check"),
    ("integrator", "target"),
)


def account_of(overrides: Overrides) -> Place | None:
    """Return the account that settings name, if they do."""
    name = overrides.get("coordinator", {}).get("account")
    return locate_account(name) if name else None


def check_same(endpoint: Endpoint, overrides: Overrides) -> None:
    """Refuse what running services were not started with.

    Raises:
        CoordError: FAILED_PRECONDITION with reason RUNNING_OTHERWISE.
    """
    for key, running, wanted in differences(endpoint.overrides, overrides):
        check = endpoint.overrides.get("integrator", {}).get("check")
        there = _flag("check", check) if key == "no_check" and check else _flag(key, running)
        asked = _flag(key, wanted)
        raise failed_precondition(
            "RUNNING_OTHERWISE",
            f"the running services (process {endpoint.pid}) were started with {there}, not"
            f" {asked}; drop {asked}, or end them first",
        )


def _flag(key: str, value: Any) -> str:
    name = f"--{key.replace('_', '-')}"
    if value is None:
        return f"no {name}"
    return name if value is True else f"{name} {shlex.quote(str(value))}"


def merged(there: Overrides, asked: Overrides) -> Overrides:
    """Return the settings that were there, with those that were asked for on top."""
    sections = {*there, *asked}
    return {name: there.get(name, {}) | asked.get(name, {}) for name in sections}


def differences(there: Overrides, asked: Overrides) -> list[tuple[str, Any, Any]]:
    """Return which of the settings that bind were asked for otherwise: key, value there, asked."""
    values = [
        (key, there.get(section, {}).get(key), asked.get(section, {}).get(key))
        for section, key in _BINDING
    ]
    return [one for one in values if one[2] is not None and one[1] != one[2]]
