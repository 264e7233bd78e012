"""Whether two globs, in gitignore syntax, may match a common path.

Where it is not worth finding out, as for two classes of characters, the answer is yes.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

_STAR, _ANY = "*", "?"
_TOKEN = re.compile(r"\\(.)|(\*+)|(\?)|(\[[!^]?\]?[^\]]*\])|(.)", re.DOTALL)
_CLASS = "[]"
_DEEP = ("**",)


@lru_cache(maxsize=65_536)
def may_meet(one: str, other: str) -> bool:
    """Tell whether a path may match both globs.

    A glob that matches a folder matches all that is in it. Negations match nothing by themselves.

    Args:
        one: A glob.
        other: Another.
    """
    if one.startswith("!") or other.startswith("!"):
        return False
    return _meet(_segments(one), _segments(other), _DEEP, _segments_meet)


@lru_cache(maxsize=4_096)
def _segments(glob: str) -> tuple[tuple[str, ...], ...]:
    """Return the tokens of each segment; a deep one stands for any number of segments."""
    path = glob.strip().rstrip("/")
    anchored = "/" in path
    names = [name for name in path.split("/") if name not in ("", ".")]
    segments = [_DEEP if name == "**" else _tokens(name) for name in names]
    return (*(() if anchored else (_DEEP,)), *segments, _DEEP)


def _tokens(name: str) -> tuple[str, ...]:
    tokens: list[str] = []
    for escaped, star, any_one, characters, plain in _TOKEN.findall(name):
        if star:
            tokens.append(_STAR)
        elif any_one or characters:
            tokens.append(_ANY if any_one else _CLASS)
        else:
            # Marked, so that an escaped star is none.
            tokens.append(f"={escaped or plain}")
    return tuple(tokens)


@lru_cache(maxsize=65_536)
def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return _meet(one, other, _STAR, _characters_meet)


def _characters_meet(one: str, other: str) -> bool:
    return one == other or not (one.startswith("=") and other.startswith("="))


def _meet(
    one: Sequence[object], other: Sequence[object], many: object, same: Callable[..., bool]
) -> bool:
    """Tell whether two sequences have a common one; `many` stands for any number of items.

    By the table of which prefixes meet, row by row: O(len(one) * len(other)).
    """
    row = [True]
    for item in other:
        row.append(row[-1] and item == many)
    for left in one:
        above, row = row, [row[0] and left == many]
        for column, right in enumerate(other, 1):
            if many in (left, right):
                # The one that stands for many takes nothing, or one more item of the other.
                row.append(above[column] or row[column - 1])
            else:
                row.append(above[column - 1] and same(left, right))
    return row[-1]
