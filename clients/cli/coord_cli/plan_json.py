"""Plans in JSON, with the line on which each value is set."""

import json
import re
from collections.abc import Iterator

from coord_cli.plan_text import FormError, Parsed, Place

_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def parse(text: str) -> Parsed:
    """Read a JSON text.

    Raises:
        FormError: It is not JSON, or has a key twice.
        RecursionError: It is nested too deeply.
        ValueError: A number in it has too many digits.
    """
    try:
        raw = json.loads(text)
        lines = _Walk(text).lines
    except json.JSONDecodeError as error:
        raise FormError(error.lineno, f"this is not JSON: {error.msg}") from error
    if not isinstance(raw, dict):
        raise FormError(1, "a plan is an object with `tasks`")
    return Parsed(raw, lines)


class _Walk:
    """Finds the lines of the values of a text that the parser has accepted."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._parts = _parts(text)
        self._value((), *next(self._parts))

    def _value(self, place: Place, part: str, line: int) -> None:
        self.lines.setdefault(place, line)
        if part == "{":
            self._members(place)
        elif part == "[":
            self._items(place)

    def _members(self, place: Place) -> None:
        for part, line in self._parts:
            if part == "}":
                return
            if part == ",":
                continue
            member = (*place, json.loads(part))
            if member in self.lines:
                first = self.lines[member]
                raise FormError(line, f"{part} is already set on line {first}")
            self.lines[member] = line
            next(self._parts)
            self._value(member, *next(self._parts))

    def _items(self, place: Place) -> None:
        number = 0
        for part, line in self._parts:
            if part == "]":
                return
            if part != ",":
                self._value((*place, number), part, line)
                number += 1


def _parts(text: str) -> Iterator[tuple[str, int]]:
    line, end = 1, 0
    for found in _PART.finditer(text):
        line += text.count("\n", end, found.start())
        end = found.start()
        yield found[0], line
