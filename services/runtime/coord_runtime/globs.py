"""Whether two globs, in gitignore syntax, may match a common path.

Where it is not worth finding out, as for two classes of characters, the answer is yes.
"""

import re
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from coord.guard import ANY_NUMBER, ANY_ONE, DEEP, meet

_STAR, _ANY = "*", "?"
_TOKEN = re.compile(r"\\(.)|(\*+)|(\?)|(.)", re.DOTALL)
# What is in a class may be escaped, named, as in `[[:digit:]]`, or a slash.
_CLASS = re.compile(r"(\\.)|\[[!^]?\]?(?:\\.|\[:[^]:]*:\]|[^]\\])*\]", re.DOTALL)
_DEEP, _ANY_NAME = ("**",), (_STAR,)
_DEEP_NAME = re.compile(r"\*{2,}")
# Trailing blanks mean nothing, but for one that is escaped.
_BLANKS = re.compile(r"(\\.)| +\Z", re.DOTALL)
# A step, which compares two characters, takes a quarter of a microsecond; two names take more.
_NAMES_STEPS = 4
_PAIR_STEPS_MAX = 2**14
_STEPS_MAX = 2**18


class _Form(NamedTuple):
    """A glob, taken apart.

    Attributes:
        segments: The tokens of each segment; a deep one stands for any number of segments.
        plain: How many of the first segments stand for themselves alone.
        length: How many tokens there are.
        wild: How many of them are in segments that stand neither for themselves nor for all names.
    """

    segments: tuple[tuple[str, ...], ...]
    plain: int
    length: int
    wild: int


class Comparison:
    """Compares globs for one request, which must not hold up all others.

    Once it has taken as many steps as it may, globs are taken to meet, and so are two that would
    take more than a sixteenth of that by themselves.

    Args:
        steps: How many it may take; by default some sixty milliseconds' worth.

    Attributes:
        steps_left: How many it may take still.
    """

    def __init__(self, steps: int = _STEPS_MAX) -> None:
        self.steps_left = steps

    def may_meet(self, one: str, other: str) -> bool:
        """Tell whether a path may match both globs.

        A glob that matches a folder matches all that is in it. Negations match nothing by
        themselves.
        """
        if one.startswith("!") or other.startswith("!"):
            return False
        steps = _steps(_form(one), _form(other))
        if steps > min(self.steps_left, _PAIR_STEPS_MAX):
            return True
        self.steps_left -= steps
        return _forms_meet(one, other)


def trimmed(glob: str) -> str:
    """Return a glob without the blanks that mean nothing; empty for one that matches nothing."""
    return _BLANKS.sub(lambda found: found[1] or "", glob)


def folders(glob: str) -> list[str]:
    """Return the names that every path that a glob matches begins with."""
    form = _form(glob)
    return ["".join(token[1:] for token in segment) for segment in form.segments[: form.plain]]


def _steps(one: _Form, other: _Form) -> int:
    """Return how many steps it takes to compare two globs at most, also where they are known."""
    if _are_apart(one, other):
        return 1
    names = len(one.segments) * len(other.segments)
    plain = (one.length - one.wild) * (other.length - other.wild)
    return names * _NAMES_STEPS + one.length * other.length - plain


def _are_apart(one: _Form, other: _Form) -> bool:
    """Tell whether two globs differ in a name before either has more than names."""
    plain = min(one.plain, other.plain)
    return one.segments[:plain] != other.segments[:plain]


@lru_cache(maxsize=65_536)
def _forms_meet(one: str, other: str) -> bool:
    left, right = _form(one), _form(other)
    return not _are_apart(left, right) and meet(
        left.segments, right.segments, _DEEP, _segments_meet
    )


@lru_cache(maxsize=4_096)
def written_down(glob: str) -> tuple[str, ...]:
    """Return a glob as the guard matches paths with it: its segments, see `coord.guard`."""
    return tuple(
        DEEP if segment == _DEEP else "".join(map(_written, segment))
        for segment in _form(glob).segments
    )


def _written(token: str) -> str:
    if token == _STAR:
        return ANY_NUMBER
    # What the guard gives a meaning to matches anything rather than nothing.
    return token[1:] if token.startswith("=") and token[1:] >= " " else ANY_ONE


@lru_cache(maxsize=4_096)
def _form(glob: str) -> _Form:
    """Take a glob apart. A class of characters is taken to be any character."""
    path = _CLASS.sub(lambda found: found[1] or _ANY, trimmed(glob)).rstrip("/")
    anchored = "/" in path
    names = [name for name in path.split("/") if name not in ("", ".")]
    inner = [_DEEP if _DEEP_NAME.fullmatch(name) else _tokens(name) for name in names]
    segments = (*(() if anchored else (_DEEP,)), *inner, _DEEP)
    plain = sum(1 for _ in takewhile(_is_plain, segments))
    wild = sum(len(one) for one in segments if one not in (_DEEP, _ANY_NAME) and not _is_plain(one))
    return _Form(segments, plain, sum(map(len, segments)), wild)


def _is_plain(segment: tuple[str, ...]) -> bool:
    return all(token.startswith("=") for token in segment)


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
    if _ANY_NAME in (one, other):
        return True
    if _is_plain(one) and _is_plain(other):
        return one == other
    return meet(one, other, _STAR, _characters_meet)


def _characters_meet(one: str, other: str) -> bool:
    return one == other or not (one.startswith("=") and other.startswith("="))
