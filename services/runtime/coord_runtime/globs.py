"""Whether two globs, in gitignore syntax, may match a common path.

Where it is not worth finding out, as for two classes of characters, the answer is yes.
"""

import re
from functools import lru_cache

from coord.guard import ANY_NUMBER, ANY_ONE, DEEP, meet

_STAR, _ANY = "*", "?"
_TOKEN = re.compile(r"\\(.)|(\*+)|(\?)|(.)", re.DOTALL)
# What is in a class may be escaped, named, as in `[[:digit:]]`, or a slash.
_CLASS = re.compile(r"(\\.)|\[[!^]?\]?(?:\\.|\[:[^]:]*:\]|[^]\\])*\]", re.DOTALL)
_DEEP = ("**",)
_DEEP_NAME = re.compile(r"\*{2,}")
_SPECIAL = re.compile(r"[*?\[\\]")
# A comparison takes as many steps as this at most, which is some ten milliseconds.
_STEPS_MAX = 2**16


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
    if len(one) * len(other) > _STEPS_MAX and (_SPECIAL.search(one) or _SPECIAL.search(other)):
        return True
    return meet(_segments(one), _segments(other), _DEEP, _segments_meet)


@lru_cache(maxsize=4_096)
def written_down(glob: str) -> tuple[str, ...]:
    """Return a glob as the guard matches paths with it: its segments, see `coord.guard`."""
    return tuple(
        DEEP if segment == _DEEP else "".join(map(_written, segment)) for segment in _segments(glob)
    )


def _written(token: str) -> str:
    if token == _STAR:
        return ANY_NUMBER
    # What the guard gives a meaning to matches anything rather than nothing.
    return token[1:] if token.startswith("=") and token[1:] >= " " else ANY_ONE


@lru_cache(maxsize=4_096)
def _segments(glob: str) -> tuple[tuple[str, ...], ...]:
    """Return the tokens of each segment; a deep one stands for any number of segments.

    A class of characters is taken to be any character.
    """
    path = _CLASS.sub(lambda found: found[1] or _ANY, glob.strip()).rstrip("/")
    anchored = "/" in path
    names = [name for name in path.split("/") if name not in ("", ".")]
    segments = [_DEEP if _DEEP_NAME.fullmatch(name) else _tokens(name) for name in names]
    return (*(() if anchored else (_DEEP,)), *segments, _DEEP)


def _tokens(name: str) -> tuple[str, ...]:
    tokens: list[str] = []
    for escaped, star, any_one, plain in _TOKEN.findall(name):
        if star:
            tokens.append(_STAR)
        elif any_one:
            tokens.append(_ANY)
        else:
            # Marked, so that an escaped star is none.
            tokens.append(f"={escaped or plain}")
    return tuple(tokens)


@lru_cache(maxsize=65_536)
def _segments_meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return meet(one, other, _STAR, _characters_meet)


def _characters_meet(one: str, other: str) -> bool:
    return one == other or not (one.startswith("=") and other.startswith("="))
