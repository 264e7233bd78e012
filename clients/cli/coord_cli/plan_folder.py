"""Plans that are folders: each Markdown file in one is a task.

Its front matter, YAML between two lines `---`, holds the task's fields, its text is the prompt.
What concerns the whole plan is in the front matter of `_plan.md`, or in `plan.toml`, `plan.yaml` or
`plan.json`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coord_cli import plan_yaml
from coord_cli.plan_text import FormError, Parsed

HEAD_FILES = ("_plan.md", "plan.toml", "plan.yaml", "plan.yml", "plan.json")
_FENCE = "---"
_HEADING = re.compile(r"#{1,6}\s+(.*?)[\s#]*")
_CODE_FENCE = re.compile(r"\s*(```|~~~)")


def task_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are tasks, by name."""
    return sorted(
        path
        for path in folder.glob("*.md")
        if path.name[0] not in "._" and path.name.lower() != "readme.md"
    )


def head_files(folder: Path) -> list[Path]:
    """Return the files of a folder that tell of the whole plan; one at most is right."""
    return [folder / name for name in HEAD_FILES if (folder / name).is_file()]


def parse_head(text: str) -> Parsed:
    """Read the front matter of `_plan.md`; its text is for people.

    Raises:
        FormError: It has not the form of one.
    """
    front, _ = _split(text)
    return plan_yaml.parse(front)


def parse_task(text: str, name: str) -> Parsed:
    """Read a task.

    Args:
        text: What its file holds.
        name: The file's name without its ending: the task's id unless a field says otherwise.

    Raises:
        FormError: It has not the form of one.
    """
    front, body = _split(text)
    parsed = plan_yaml.parse(front)
    task: dict[str, Any] = {"id": name, **parsed.raw}
    if "title" not in task and (title := next(_headings(body), "")):
        task["title"] = title
    if body.strip():
        if "prompt" in task:
            raise FormError(parsed.line(("prompt",)), "the text below is the prompt already")
        task["prompt"] = body.strip("\n")
    return Parsed(task, parsed.lines)


def _split(text: str) -> tuple[str, str]:
    """Return the front matter, on the lines that it has in the file, and the text after it."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _FENCE:
            return "\n".join(["", *lines[1:number]]), "\n".join(lines[number + 1 :])
    raise FormError(1, "the front matter that begins here lacks its last line, `---`")


def _headings(body: str) -> Iterator[str]:
    in_code = False
    for line in body.split("\n"):
        if _CODE_FENCE.match(line):
            in_code = not in_code
        elif not in_code and (found := _HEADING.fullmatch(line.rstrip())):
            yield found[1]
