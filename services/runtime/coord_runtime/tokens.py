"""Tokens: who calls.

A token is a principal, written as JSON and signed with the key that every service of a host
shares (HMAC-SHA-256). Tokens keep out accidents and strangers on the network; a hostile process of
the same user can read the key.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets  # noqa: TID251 - a key must not be drawn from a simulation's chance.
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from coord.errors import CoordError, unauthenticated

_KEY_BYTES = 32
_REMEMBERED_MAX = 10_000


class Kind(StrEnum):
    """What kind of caller a principal is."""

    OPERATOR = "operator"
    SERVICE = "service"
    WORKER = "worker"


@dataclass(frozen=True)
class Principal:
    """Who calls.

    Attributes:
        kind: What kind of caller.
        name: The operator's, the service's or the worker's name.
        project: The only project that the caller may name.
    """

    kind: Kind
    name: str
    project: str


class TokenMint:
    """Makes and checks tokens with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, Principal] = {}

    def mint(self, principal: Principal) -> str:
        """Return a token that names `principal`."""
        body = json.dumps(asdict(principal), separators=(",", ":")).encode()
        return f"coord1.{_encode(body)}.{_encode(self._sign(body))}"

    def verify(self, authorization: str) -> Principal:
        """Return whom the value of an `authorization` entry names.

        Raises:
            CoordError: UNAUTHENTICATED, with reason NO_TOKEN or INVALID_TOKEN.
        """
        known = self._known.get(authorization)
        if known is not None:
            return known
        principal = self._verify(authorization)
        if len(self._known) < _REMEMBERED_MAX:
            self._known[authorization] = principal
        return principal

    def _verify(self, authorization: str) -> Principal:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("NO_TOKEN", "send the metadata `authorization: Bearer <token>`")
        try:
            version, body, signature = token.split(".")
            content, signed = _decode(body), _decode(signature)
        except (ValueError, binascii.Error):
            raise _invalid() from None
        if version != "coord1" or not hmac.compare_digest(self._sign(content), signed):
            raise _invalid()
        fields = json.loads(content)
        return Principal(Kind(fields["kind"]), fields["name"], fields["project"])

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)


def load_key(path: Path) -> bytes:
    """Return the key in `path`; the first caller makes it, readable by its user alone."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link, unlike a rename, leaves the key of somebody who was faster.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()


def _invalid() -> CoordError:
    return unauthenticated("INVALID_TOKEN", "the token was not minted here")


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
