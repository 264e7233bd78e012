"""Where a running host is found: a file in the state folder, true while its lock is held."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coord_host.places import Place

_POLL_S = 0.05
_STARTING_S = 30.0


@dataclass(frozen=True)
class Endpoint:
    """A running host.

    Attributes:
        pid: Its process.
        addresses: Address of each service by name.
        metrics: Address of each service's metrics by name; empty where there are none.
        overrides: The settings that it was started with, by section.
    """

    pid: int
    addresses: dict[str, str]
    metrics: dict[str, str]
    overrides: dict[str, dict[str, Any]]


def publish(place: Place, endpoint: Endpoint) -> None:
    """Tell others where the host of this process is."""
    path = _path(place)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(endpoint), default=str))
    draft.replace(path)


def find(place: Place) -> Endpoint | None:
    """Return the running host of a place, waiting while it starts; None where there is none."""
    polls = int(_STARTING_S / _POLL_S)
    for _ in range(polls):
        pid = _holder(place)
        if pid is None:
            return None
        endpoint = _read(place)
        if endpoint is not None and endpoint.pid == pid:
            return endpoint
        time.sleep(_POLL_S)
    return None


def last_overrides(place: Place) -> dict[str, dict[str, Any]]:
    """Return the settings that a project was served with last, by section; none where it never was.

    Where the services were reached is left out: it was theirs.
    """
    endpoint = _read(place)
    found = {} if endpoint is None else endpoint.overrides
    return {section: values for section, values in found.items() if section != "node"}


def last_addresses(place: Place) -> dict[str, str]:
    """Return where each service of a project was served last; nothing where none ever was."""
    endpoint = _read(place)
    return {} if endpoint is None else endpoint.addresses


def _path(place: Place) -> Path:
    return place.state / "host" / "endpoint.json"


def _read(place: Place) -> Endpoint | None:
    try:
        return Endpoint(**json.loads(_path(place).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _holder(place: Place) -> int | None:
    """Return the process that holds the host's lock; None where nobody does."""
    try:
        descriptor = os.open(place.state / "host" / "lock", os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 32) or b"0")
    finally:
        os.close(descriptor)
    return None
