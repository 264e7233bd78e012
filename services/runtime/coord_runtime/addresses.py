"""Addresses to listen on, and which of them need TLS."""

import ipaddress

from coord.errors import CoordError, invalid_argument

_PORT_MAX = 65_535
_UNIX = ("unix:", "unix-abstract:")


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 host is written in brackets.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_ADDRESS.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > _PORT_MAX:
        raise _invalid(f"{address!r} is not an address; write host:port, such as 127.0.0.1:0")
    return host, int(port)


def is_local(address: str) -> bool:
    """Tell whether only this machine can reach `address`."""
    if address.startswith(_UNIX):
        return True
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listen(address: str, *, tls: bool) -> None:
    """Refuse an address that other machines can reach, unless calls to it are encrypted.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INSECURE_ADDRESS or INVALID_ADDRESS.
    """
    if not tls and not is_local(address):
        raise invalid_argument(
            "INSECURE_ADDRESS",
            f"{address} can be reached from other machines: listen on a loopback address or a unix"
            " socket, or set tls_certificate and tls_key",
        )


def _invalid(message: str) -> CoordError:
    return invalid_argument("INVALID_ADDRESS", message)
