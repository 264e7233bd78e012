"""Where a plan is read from: one file, or a folder with a file for each task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord_cli import plan_folder, plan_json, plan_toml, plan_yaml
from coord_cli.plan_problems import PlanError, Problem
from coord_cli.plan_text import FormError, Parsed, Place

_FORMS: Mapping[str, Callable[[str], Parsed]] = {
    ".json": plan_json.parse,
    ".md": plan_folder.parse_head,
    ".toml": plan_toml.parse,
    ".yaml": plan_yaml.parse,
    ".yml": plan_yaml.parse,
}
_NOTHING = Parsed({}, {})


@dataclass(frozen=True)
class Source:
    """A plan as it was read, not checked yet.

    Attributes:
        name: What the plan is called unless it says otherwise.
        raw: All that it says, as one table.
        head: The file that tells of the whole, with its lines.
        tasks: The files of the tasks, in the order of `raw`; none where the head has the tasks.
    """

    name: str
    raw: dict[str, Any]
    head: tuple[Path, Parsed]
    tasks: Sequence[tuple[Path, Parsed]] = ()

    def file(self, task: int) -> Path:
        """Return the file that a task is in."""
        return self.tasks[task][0] if self.tasks else self.head[0]

    def problem(self, place: Place, message: str) -> Problem:
        """Return a problem with the value at a place."""
        path, parsed = self.head
        match place:
            case ("tasks", int(number), *_) if self.tasks:
                path, parsed = self.tasks[number]
                place = place[2:]
        return Problem(path, parsed.line(place), message)


def read(path: Path) -> Source:
    """Read a plan's file or folder.

    Raises:
        PlanError: It cannot be read, or has not the form that its name promises.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() not in _FORMS or path.suffix == ".md":
        known = ".toml, .yaml or .json"
        raise PlanError([Problem(path, 1, f"a plan's name ends in {known}, or it is a folder")])
    parsed = _read_file(path, _FORMS[path.suffix.lower()])
    return Source(path.stem, parsed.raw, (path, parsed))


def _read_folder(path: Path) -> Source:
    heads, files = plan_folder.head_files(path), plan_folder.task_files(path)
    if len(heads) > 1:
        names = " and ".join(head.name for head in heads)
        raise PlanError([Problem(heads[1], 1, f"a folder has one file for the plan, not {names}")])
    if not files:
        raise PlanError([Problem(path, 1, "there is no task here: no file NAME.md")])
    head = (path, _NOTHING)
    if heads:
        head = (heads[0], _read_file(heads[0], _FORMS[heads[0].suffix]))
    if "tasks" in head[1].raw:
        line = head[1].line(("tasks",))
        message = "the tasks of this folder are its files; this one is for the plan as a whole"
        raise PlanError([Problem(head[0], line, message)])
    tasks = _read_tasks(files)
    raw = {**head[1].raw, "tasks": [parsed.raw for _, parsed in tasks]}
    return Source(path.resolve().name, raw, head, tasks)


def _read_tasks(files: Sequence[Path]) -> list[tuple[Path, Parsed]]:
    """Read all files, so that what is wrong with several is told at once."""
    tasks, problems = [], []
    for path in files:
        try:
            tasks.append((path, _read_file(path, _task_form(path))))
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(problems)
    return tasks


def _task_form(path: Path) -> Callable[[str], Parsed]:
    return lambda text: plan_folder.parse_task(text, path.stem)


def _read_file(path: Path, form: Callable[[str], Parsed]) -> Parsed:
    try:
        return form(path.read_text("utf-8-sig"))
    except FormError as error:
        raise PlanError([Problem(path, error.line, error.message)]) from error
    except RecursionError as error:
        raise PlanError([Problem(path, 1, "this is nested too deeply for a plan")]) from error
    except OSError as error:
        raise PlanError([Problem(path, 0, f"cannot be read: {error.strerror}")]) from error
    except ValueError as error:
        # Such as bytes that are no text, or a number of more digits than Python takes.
        raise PlanError([Problem(path, 1, f"cannot be read: {error}")]) from error
