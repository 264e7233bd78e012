"""Plans made of what other tools keep."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from coord_cli import import_beads, import_github, import_wfcommons
from coord_cli.command import UsageProblem
from coord_cli.imported import Imported, Record
from coord_cli.plan_graph import cycles, show_cycle
from coord_cli.plan_problems import explain
from coord_cli.plan_tables import TaskTable

_READERS: Mapping[str, Callable[[list[Record]], Imported]] = {
    "beads": import_beads.read,
    "github": import_github.read,
    "wfcommons": import_wfcommons.read,
}
FORMS = tuple(_READERS)


def import_plan(data: bytes, form: str | None) -> Imported:
    """Return the plan that a text amounts to.

    Args:
        data: What another tool has written, in UTF-8.
        form: One of FORMS; None to go by how the text looks.

    Raises:
        UsageProblem: It has not that form, or holds nothing that is open.
    """
    try:
        records = _records(data.decode("utf-8-sig"))
        form = form or _guess(records)
        imported = _read(records, form)
    except UnicodeDecodeError as error:
        raise UsageProblem(f"this is no text: {error}") from error
    except RecursionError as error:
        raise UsageProblem("this is nested too deeply for a plan") from error
    if not imported.content["tasks"]:
        raise UsageProblem("nothing in it is left to do: there is nothing to make a plan of")
    deps = {task["id"]: task.get("deps", []) for task in imported.content["tasks"]}
    imported.notes += [f"break this cycle: {show_cycle(cycle)}" for cycle in cycles(deps)]
    return imported


def _read(records: list[Record], form: str) -> Imported:
    try:
        imported = _READERS[form](records)
        _check_tasks(imported)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageProblem(f"this is not as {form} writes it: {error!r}") from error
    return imported


def _check_tasks(imported: Imported) -> None:
    """Raise ValueError where a task holds what no plan may."""
    for task in imported.content["tasks"]:
        try:
            TaskTable.model_validate(task)
        except ValidationError as error:
            raise ValueError(explain(error.errors(include_url=False)[0])) from error


def _records(text: str) -> list[Record]:
    """Return the objects of a JSON array, or of lines with one each."""
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if whole is None:
        return [_record(line, number) for number, line in _lines(text)]
    found = whole if isinstance(whole, list) else [whole]
    if not found or not all(isinstance(one, dict) for one in found):
        raise UsageProblem("there are no JSON objects in it")
    return found


def _lines(text: str) -> list[tuple[int, str]]:
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def _record(line: str, number: int) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise UsageProblem(f"line {number} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageProblem(f"line {number} is no JSON object")
    return found


def _guess(records: list[Record]) -> str:
    first = records[0] if records else {}
    if "workflow" in first:
        return "wfcommons"
    if "number" in first and "title" in first:
        return "github"
    if "id" in first and "title" in first:
        return "beads"
    raise UsageProblem(f"it is not clear what this is; say --from {' or --from '.join(FORMS)}")


def write_plan(content: dict[str, Any], output: Path | None, *, as_json: bool, force: bool) -> None:
    """Write a plan to a file, or to standard output.

    Raises:
        UsageProblem: The file is there, or its name promises a form that is not written.
    """
    text = _dump(content, as_json=as_json or (output is not None and output.suffix == ".json"))
    if output is None:
        click.echo(text, nl=False)
        return
    if output.suffix not in {".json", ".yaml", ".yml"}:
        raise UsageProblem(f"{output}: plans are written as .yaml or .json")
    try:
        with output.open("w" if force else "x") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageProblem(f"{output} is there already; --force writes over it") from error


def _dump(content: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people do."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
