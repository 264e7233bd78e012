"""Tokens that say where a list goes on."""

import base64
import binascii
import hashlib
import json
from typing import Any

from coord.errors import CoordError, invalid_argument

_DIGEST_BYTES = 8


def next_page_token(request: Any, after: list[int]) -> str:
    """Return the token for what follows an answer to `request`.

    Args:
        request: What was asked, with a `page_token` and a `page_size`.
        after: Where the answer ended.
    """
    return base64.urlsafe_b64encode(_list_of(request) + json.dumps(after).encode()).decode()


def page_start(request: Any) -> list[int]:
    """Return where to go on: the `after` of the answer before; empty for the start.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_PAGE_TOKEN, also for a token of another
            list: all but the page's size must be as it was.
    """
    if not request.page_token:
        return []
    try:
        token = base64.b64decode(request.page_token, altchars=b"-_", validate=True)
        after = json.loads(token[_DIGEST_BYTES:])
    except (binascii.Error, ValueError):
        raise _invalid() from None
    if token[:_DIGEST_BYTES] != _list_of(request):
        raise _invalid()
    return [int(number) for number in after]


def _list_of(request: Any) -> bytes:
    """Return what tells a list from others: a digest of its request."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_token")
    same.ClearField("page_size")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + same.SerializeToString(deterministic=True)).digest()[
        :_DIGEST_BYTES
    ]


def _invalid() -> CoordError:
    return invalid_argument(
        "INVALID_PAGE_TOKEN",
        "page_token: use the token of the answer before, with the same request; or start without",
        field="page_token",
    )
