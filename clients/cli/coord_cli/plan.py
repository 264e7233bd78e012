"""Plans: files or folders that say what is to be done.

A plan is checked whole before anything is started, and every problem is told with its line.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coord_cli.plan_graph import cycles, did_you_mean, show_cycle
from coord_cli.plan_problems import PlanError, Problem, explain
from coord_cli.plan_source import Source, read
from coord_cli.plan_tables import PlanFile, ProfileTable, TaskTable, check_text
from coord_cli.plan_text import Place
from coord_cli.profiles import BUILT_IN, Profile

RUN_LABEL = "run"
# What the queue takes.
_PROMPT_BYTES_MAX = 2**20


@dataclass(frozen=True)
class Plan:
    """A plan that was found good.

    Attributes:
        path: Its file or folder.
        name: Its name: what its run is known by.
        content: What it says.
        prompts: The prompt of each task by id.
        profiles: The built-in profiles and its own, by name.
        source: What it was read from.
        chosen: The ids of the tasks that are wanted; None for all.
    """

    path: Path
    name: str
    content: PlanFile
    prompts: Mapping[str, str]
    profiles: Mapping[str, Profile]
    source: Source
    chosen: frozenset[str] | None = None

    @property
    def tasks(self) -> list[TaskTable]:
        """The tasks that are wanted, in the order of the plan."""
        everything = self.content.tasks
        return [one for one in everything if self.chosen is None or one.id in self.chosen]

    def check_capabilities(self, workers: list[Profile]) -> None:
        """Raise PlanError where a task requires what no worker can do."""
        problems = list(_uncovered(self, workers))
        if problems:
            raise PlanError(problems)


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        PlanError: It cannot be read, or something is wrong with it.
    """
    source = read(path)
    problems = [source.problem(place, message) for place, message in _problems(source.raw)]
    content = _validate(source, problems)
    prompts = {} if content is None else _prompts(content, source, problems)
    if problems or content is None:
        raise PlanError(problems)
    name = content.plan.name or re.sub(r"[^A-Za-z0-9._:/@+-]", "-", source.name)
    own = {name: _profile(name, table) for name, table in content.profiles.items()}
    return Plan(path, name, content, prompts, BUILT_IN | own, source)


def _validate(source: Source, problems: list[Problem]) -> PlanFile | None:
    try:
        return PlanFile.model_validate(source.raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems += [source.problem(one["loc"], explain(one)) for one in errors]
        return None


def _problems(raw: dict[str, Any]) -> Iterator[tuple[Place, str]]:
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


def _prompts(content: PlanFile, source: Source, problems: list[Problem]) -> dict[str, str]:
    prompts: dict[str, str] = {}
    for number, task in enumerate(content.tasks):
        try:
            prompts[task.id] = _prompt(task, source.file(number).parent)
        except ValueError as error:
            field = "prompt_file" if task.prompt_file is not None else "prompt"
            message = f"tasks[{number}].{field}: {error}"
            problems.append(source.problem(("tasks", number, field), message))
        if RUN_LABEL in (task.labels or {}):
            message = f"tasks[{number}].labels: the label {RUN_LABEL!r} is the plan's name"
            problems.append(source.problem(("tasks", number, "labels"), message))
    return prompts


def _prompt(task: TaskTable, folder: Path) -> str:
    if (task.prompt is None) == (task.prompt_file is None):
        raise ValueError(f"give {task.id!r} either a prompt or a prompt_file")
    prompt = task.prompt or ""
    if task.prompt_file is not None:
        try:
            prompt = check_text((folder / task.prompt_file).read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot be read: {error}") from error
    if not prompt.strip():
        raise ValueError(f"the prompt of {task.id!r} is empty: say what is to be done")
    size = len(prompt.encode())
    if size > _PROMPT_BYTES_MAX:
        raise ValueError(
            f"the prompt of {task.id!r} has {size / 2**20:.1f} MiB, and may have 1 MiB: commit the"
            " text as a file of the repository, and name that file in the prompt"
        )
    return prompt


def _profile(name: str, table: ProfileTable) -> Profile:
    return Profile(name, tuple(table.capabilities), table.preferences, table.agent)


def _uncovered(plan: Plan, workers: list[Profile]) -> Iterator[Problem]:
    everything = {capability for worker in workers for capability in worker.capabilities}
    numbers = {task.id: number for number, task in enumerate(plan.content.tasks)}
    for task in plan.tasks:
        needed = set(task.capabilities or plan.content.defaults.capabilities or ())
        if any(needed <= set(worker.capabilities) for worker in workers):
            continue
        missing = sorted(needed - everything)
        if missing:
            hint = did_you_mean(missing[0], everything)
            message = f"no worker can do {', '.join(missing)}, as {task.id!r} requires{hint}"
        else:
            message = f"no single worker can do all that {task.id!r} requires"
        yield plan.source.problem(("tasks", numbers[task.id], "capabilities"), message)
