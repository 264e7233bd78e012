"""Ports for services: those that they had before, for workers who know no others."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from coord_host.endpoint import last_addresses
from coord_host.places import Place

_HOST = "127.0.0.1"


def addresses(place: Place, names: Sequence[str]) -> dict[str, str]:
    """Return an address for each service: that of the last time, or a free one where it is taken.

    Args:
        place: The project.
        names: The services. Where all had one address, the last of them gets it.
    """
    last, found = last_addresses(place), {}
    # All are held until the last is found: none is given twice.
    with ExitStack() as stack:
        for name in reversed(names):
            taken = stack.enter_context(_listen(last.get(name, "")))
            found[name] = f"{_HOST}:{taken.getsockname()[1]}"
    return {name: found[name] for name in names}


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server((_HOST, int(port) if host == _HOST else 0))
    except OSError:
        return socket.create_server((_HOST, 0))
