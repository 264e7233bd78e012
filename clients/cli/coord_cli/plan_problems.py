"""What is wrong with a plan, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord_cli.plan_graph import did_you_mean
from coord_cli.plan_tables import (
    LimitTable,
    PlanFile,
    PlanTable,
    ProfileTable,
    Table,
    TaskFields,
    TaskTable,
)
from coord_cli.plan_text import Place

_TABLES: dict[str, type[Table]] = {
    "plan": PlanTable,
    "defaults": TaskFields,
    "profiles": ProfileTable,
    "limits": LimitTable,
    "tasks": TaskTable,
}
# By the library's names of what can be wrong.
_MESSAGES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "extra_forbidden": "is not known here",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_type": "must be a table",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be text; put it in quotes",
    "too_long": "must name at most {max_length}",
    "too_short": "must not be empty",
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a plan.

    Attributes:
        path: In which file.
        line: Where in it; 0 for the file as a whole.
        message: What, and where that is clear, what to do.
    """

    path: Path
    line: int
    message: str


class PlanError(Exception):
    """A plan that cannot be run, with all that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.path, problem.line))
        super().__init__("\n".join(map(_told, self.problems)))

    def as_json(self) -> list[dict[str, Any]]:
        """Return the problems for programs."""
        return [
            {"path": str(one.path), "line": one.line, "message": one.message}
            for one in self.problems
        ]


def _told(problem: Problem) -> str:
    where = f"{problem.path}:{problem.line}" if problem.line else str(problem.path)
    return f"{where}: {problem.message}"


def explain(error: Any) -> str:
    """Return what a validation error says to who has written the plan."""
    place, kind = error["loc"], error["type"]
    field = _dotted(place)
    if kind == "extra_forbidden":
        known = sorted(_known_fields(place[:-1]))
        # The name of a burst says no time: a rate's with `_burst` at its end is none.
        wanted = str(place[-1]).replace("_per_minute_burst", "_burst")
        hint = did_you_mean(wanted, known) or f"; there are {', '.join(known)}"
        return f"{field} {_MESSAGES[kind]}{hint}"
    if kind == "string_pattern_mismatch":
        return f"{field} may not be {error['input']!r}: it must match {error['ctx']['pattern']}"
    if kind in _MESSAGES:
        return f"{field} {_MESSAGES[kind].format(**error.get('ctx', {}))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}"


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _known_fields(place: Place) -> Iterator[str]:
    table = _TABLES.get(str(place[0]), PlanFile) if place else PlanFile
    return iter(table.model_fields)
