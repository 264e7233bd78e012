"""What the readers of all forms of plans give: tables, and the line of each value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Where a value is, such as `("tasks", 0, "deps")`.
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Parsed:
    """A text that was read.

    Attributes:
        raw: What it says, in tables, lists, strings and numbers.
        lines: The lines of its values by their place.
    """

    raw: dict[str, Any]
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """Return the line of a value, or of the nearest that it is in."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


class FormError(Exception):
    """A text that does not have the form that it should."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")
