"""Workflows in the WfCommons form (WfFormat 1.0 to 1.6), as its traces and generators write them.

From version 1.5 on the tasks are in `workflow.specification`, their commands in
`workflow.execution`; before, both were in one list, `tasks` or `jobs`, whose tasks name one another
by name rather than by id. A dependency may be told at either end of it: `parents` or `children`.
"""

from collections.abc import Iterator
from typing import Any

from coord_cli.imported import Ids, Imported, Record, task


def read(records: list[Record]) -> Imported:
    """Return the plan that workflows amount to: all tasks of all of them.

    Raises:
        KeyError: A task has no name.
    """
    imported, ids = Imported(), Ids()
    for number, record in enumerate(records):
        _add(imported, ids, record["workflow"], f"{number}/" if len(records) > 1 else "")
    imported.notes += ids.changed()
    return imported


def _add(imported: Imported, ids: Ids, workflow: Record, prefix: str) -> None:
    tasks = _tasks(workflow)
    named = {name: key for key, one in tasks.items() for name in (one["name"], key)}
    named |= {key: key for key in tasks}
    deps: dict[str, list[str]] = {key: [] for key in tasks}
    unknown: list[str] = []
    for parent, child in _edges(tasks):
        if parent in named and child in named:
            deps[named[child]].append(named[parent])
        else:
            unknown.append(f"{child} after {parent}")
    commands = {one["id"]: one for one in workflow.get("execution", {}).get("tasks", ())}
    for key, one in tasks.items():
        text = _command(commands.get(key, one).get("command"))
        waits = [ids.of(prefix + dep) for dep in deps[key]]
        made = task(ids.of(prefix + key), one["name"], text, waits)
        imported.content["tasks"].append(made)
    imported.leave_out(unknown, "dependencies on tasks that are not in the workflow")


def _tasks(workflow: Record) -> dict[str, Record]:
    """Return the tasks by what is unique: the id from version 1.5 on, the name before."""
    if "specification" in workflow:
        return {one["id"]: one for one in workflow["specification"]["tasks"]}
    older = workflow["tasks"] if "tasks" in workflow else workflow["jobs"]
    return {one["name"]: one for one in older}


def _edges(tasks: dict[str, Record]) -> Iterator[tuple[str, str]]:
    for key, one in tasks.items():
        yield from ((parent, key) for parent in one.get("parents") or ())
        yield from ((key, child) for child in one.get("children") or ())


def _command(command: Any) -> str:
    if not command:
        return ""
    words = [command.get("program") or "", *(command.get("arguments") or ())]
    return " ".join(word for word in words if word)
