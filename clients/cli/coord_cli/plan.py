"""Plans: TOML files that say what is to be done.

A plan is checked whole before anything is started, and every problem is told with its line.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coord_cli import plan_lines
from coord_cli.plan_graph import cycles, did_you_mean, show_cycle
from coord_cli.plan_tables import (
    LimitTable,
    PlanFile,
    PlanTable,
    ProfileTable,
    Table,
    TaskFields,
    TaskTable,
)
from coord_cli.profiles import BUILT_IN, Profile

RUN_LABEL = "run"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a plan.

    Attributes:
        line: Where.
        message: What, and where that is clear, what to do.
    """

    line: int
    message: str


class PlanError(Exception):
    """A plan that cannot be run, with all that is wrong with it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{path}:{one.line}: {one.message}" for one in self.problems))


@dataclass(frozen=True)
class Plan:
    """A plan that was found good.

    Attributes:
        path: Its file.
        name: Its name: what its run is known by.
        content: What it says.
        prompts: The prompt of each task by id.
        profiles: The built-in profiles and its own, by name.
    """

    path: Path
    name: str
    content: PlanFile
    prompts: Mapping[str, str]
    profiles: Mapping[str, Profile]
    lines: plan_lines.Lines

    def check_capabilities(self, workers: list[Profile]) -> None:
        """Raise PlanError where a task requires what no worker can do."""
        problems = list(_uncovered(self, workers))
        if problems:
            raise PlanError(self.path, problems)


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        PlanError: It cannot be read, or something is wrong with it.
    """
    text = _read(path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(path, [_syntax_problem(error)]) from error
    lines = plan_lines.Lines(text)
    problems = [Problem(lines.of(place), message) for place, message in _problems(raw)]
    content = _validate(raw, lines, problems)
    prompts = {} if content is None else _prompts(content, path, lines, problems)
    if problems or content is None:
        raise PlanError(path, problems)
    name = content.plan.name or re.sub(r"[^A-Za-z0-9._:/@+-]", "-", path.stem)
    own = {name: _profile(name, table) for name, table in content.profiles.items()}
    return Plan(path, name, content, prompts, BUILT_IN | own, lines)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(path, [Problem(1, f"cannot be read: {error}")]) from error


def _syntax_problem(error: tomllib.TOMLDecodeError) -> Problem:
    found = re.search(r"at line (\d+)", str(error))
    return Problem(int(found[1]) if found else 1, f"this is not TOML: {error}")


def _validate(
    raw: dict[str, Any], lines: plan_lines.Lines, problems: list[Problem]
) -> PlanFile | None:
    try:
        return PlanFile.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems += [Problem(lines.of(one["loc"]), _explain(one)) for one in errors]
        return None


def _explain(error: Any) -> str:
    place, kind = error["loc"], error["type"]
    field = _dotted(place)
    if kind == "extra_forbidden":
        known = _known_fields(place[:-1])
        return f"{field} is not known here{did_you_mean(str(place[-1]), known)}"
    if kind == "missing":
        return f"{field} is missing"
    if kind == "string_pattern_mismatch":
        return f"{field} may not be {error['input']!r}: it must match {error['ctx']['pattern']}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}"


def _dotted(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _known_fields(place: tuple[str | int, ...]) -> Iterator[str]:
    tables: dict[str, type[Table]] = {
        "plan": PlanTable,
        "defaults": TaskFields,
        "profiles": ProfileTable,
        "limits": LimitTable,
        "tasks": TaskTable,
    }
    table = tables.get(str(place[0]), PlanFile) if place else PlanFile
    return iter(table.model_fields)


def _problems(raw: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with ids and dependencies, as far as they have the right form."""
    given = raw.get("tasks")
    tasks = [
        (number, task)
        for number, task in enumerate(given if isinstance(given, list) else [])
        if isinstance(task, dict) and isinstance(task.get("id"), str)
    ]
    first: dict[str, int] = {}
    for number, task in tasks:
        if first.setdefault(task["id"], number) != number:
            again = first[task["id"]]
            yield ("tasks", number, "id"), f"tasks[{again}] already has the id {task['id']!r}"
    deps = {task["id"]: _names(task.get("deps")) for _, task in tasks}
    for number, task in tasks:
        for dep in _names(task.get("deps")):
            if dep not in deps:
                hint = did_you_mean(dep, deps)
                message = f"{task['id']!r} depends on {dep!r}, which is no task of the plan{hint}"
                yield ("tasks", number, "deps"), message
    for cycle in cycles(deps):
        yield ("tasks", first[cycle[0]], "deps"), f"a cycle: {show_cycle(cycle)}"


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _prompts(
    content: PlanFile, path: Path, lines: plan_lines.Lines, problems: list[Problem]
) -> dict[str, str]:
    prompts: dict[str, str] = {}
    for number, task in enumerate(content.tasks):
        try:
            prompts[task.id] = _prompt(task, path)
        except ValueError as error:
            field = "prompt_file" if task.prompt_file is not None else "prompt"
            line = lines.of(("tasks", number, field))
            problems.append(Problem(line, f"tasks[{number}].{field}: {error}"))
        if RUN_LABEL in (task.labels or {}):
            line = lines.of(("tasks", number, "labels"))
            message = f"tasks[{number}].labels: the label {RUN_LABEL!r} is the plan's name"
            problems.append(Problem(line, message))
    return prompts


def _prompt(task: TaskTable, path: Path) -> str:
    if (task.prompt is None) == (task.prompt_file is None):
        raise ValueError(f"give {task.id!r} either a prompt or a prompt_file")
    if task.prompt_file is None:
        return task.prompt or ""
    try:
        return (path.parent / task.prompt_file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error


def _profile(name: str, table: ProfileTable) -> Profile:
    return Profile(name, tuple(table.capabilities), table.preferences, table.agent)


def _uncovered(plan: Plan, workers: list[Profile]) -> Iterator[Problem]:
    everything = {capability for worker in workers for capability in worker.capabilities}
    for number, task in enumerate(plan.content.tasks):
        needed = set(task.capabilities or plan.content.defaults.capabilities or ())
        if any(needed <= set(worker.capabilities) for worker in workers):
            continue
        line = plan.lines.of(("tasks", number, "capabilities"))
        missing = sorted(needed - everything)
        if missing:
            hint = did_you_mean(missing[0], everything)
            message = f"no worker can do {', '.join(missing)}, as {task.id!r} requires{hint}"
        else:
            message = f"no single worker can do all that {task.id!r} requires"
        yield Problem(line, message)
