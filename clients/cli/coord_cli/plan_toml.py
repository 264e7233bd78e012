"""Plans in TOML, with the line on which each value is set.

The standard parser tells no positions. `_Scan` reads headers and keys only, line by line, of a text
that the parser has accepted; what it does not find gets the line of the nearest table.
"""

import re
import tomllib
from collections import Counter

from coord_cli.plan_text import FormError, Parsed, Place

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = re.compile(rf"\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*=(.*)")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*\]\]?\s*(?:#.*)?")
_PART = re.compile(_KEY_PART)
_TRIPLE = re.compile(r'"""|' + r"'''")


def parse(text: str) -> Parsed:
    """Read a TOML text.

    Raises:
        FormError: It is not TOML.
        RecursionError: It is nested too deeply.
        ValueError: A number in it has too many digits.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise FormError(line, f"this is not TOML: {error}") from error
    return Parsed(raw, _Scan(text).lines)


class _Scan:
    """Finds the lines of a TOML text's values."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._arrays: Counter[Place] = Counter()
        self._table: Place = ()
        self._closing = ""
        for number, line in enumerate(text.splitlines(), start=1):
            self._read(number, line)

    def _read(self, number: int, line: str) -> None:
        if self._closing:
            self._look_for_end(line)
        elif header := _HEADER.fullmatch(line):
            self._open(header, number)
        elif key := _KEY.match(line):
            self.lines.setdefault(self._table + _parts(key[1]), number)
            self._look_for_start(key[2])
        else:
            self._look_for_start(line)

    def _open(self, header: re.Match[str], number: int) -> None:
        path = self._resolve(_parts(header[2]))
        if header[1] == "[[":
            self.lines.setdefault(path, number)
            self._arrays[path] += 1
            path = (*path, self._arrays[path] - 1)
        self._table = path
        self.lines.setdefault(path, number)

    def _resolve(self, names: Place) -> Place:
        """Return a header's path; within an array of tables it means the newest one."""
        path: Place = ()
        for name in names[:-1]:
            path = (*path, name)
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
        return (*path, names[-1])

    def _look_for_start(self, text: str) -> None:
        if (found := _TRIPLE.search(text)) and found[0] not in text[found.end() :]:
            self._closing = found[0]

    def _look_for_end(self, line: str) -> None:
        if self._closing in line:
            self._closing = ""


def _parts(dotted: str) -> Place:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
