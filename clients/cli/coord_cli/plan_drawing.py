"""The graph of a plan as text, and in the languages of tools that draw it."""

import json
from collections.abc import Iterator

from coord_cli.plan_shape import Shape

FORMATS = ("text", "dot", "mermaid", "json")


def draw(shape: Shape, form: str) -> str:
    """Return the graph in one of FORMATS."""
    lines = {"text": _text, "dot": _dot, "mermaid": _mermaid, "json": _json}[form]
    return "\n".join(lines(shape))


def _text(shape: Shape) -> Iterator[str]:
    tasks = {task.id: task for task in shape.tasks}
    for number, level in enumerate(shape.levels, start=1):
        yield f"level {number}"
        for name in level:
            task = tasks[name]
            title = "" if task.title == name else f"  {task.title}"
            after = f"  <- {', '.join(task.deps)}" if task.deps else ""
            yield f"  {name}{title}{after}"


def _dot(shape: Shape) -> Iterator[str]:
    yield "digraph plan {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    for task in shape.tasks:
        label = task.id if task.title == task.id else f"{task.id}\n{task.title}"
        yield f"  {_quoted(task.id)} [label={_quoted(label)}];"
    for task in shape.tasks:
        for dep in task.deps:
            yield f"  {_quoted(dep)} -> {_quoted(task.id)};"
    yield "}"


def _quoted(text: str) -> str:
    """Return a string of DOT, in which only quotes and backslashes stand for something else."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(shape: Shape) -> Iterator[str]:
    """Yield a flowchart. Its nodes have numbers: ids there may not hold what ours may."""
    numbers = {task.id: f"t{number}" for number, task in enumerate(shape.tasks)}
    yield "flowchart LR"
    for task in shape.tasks:
        label = task.id if task.title == task.id else f"{task.id}: {task.title}"
        yield f'  {numbers[task.id]}["{_entities(label)}"]'
    for task in shape.tasks:
        for dep in task.deps:
            yield f"  {numbers[dep]} --> {numbers[task.id]}"


def _entities(text: str) -> str:
    marks = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "#": "#35;"}
    return "".join(marks.get(character, character) for character in text)


def _json(shape: Shape) -> Iterator[str]:
    level = {name: n for n, names in enumerate(shape.levels, start=1) for name in names}
    tasks = [
        {"id": task.id, "title": task.title, "level": level[task.id], "deps": list(task.deps)}
        for task in shape.tasks
    ]
    yield json.dumps({"tasks": tasks, "critical_path": list(shape.chain)}, ensure_ascii=False)
