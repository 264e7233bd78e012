"""What readers of other tools' files give: a plan, and what they could not say in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]

_ID_CHARS_MAX = 128
_TITLE_CHARS_MAX = 1_024
_PRIORITY_STEP = 50


@dataclass
class Imported:
    """A plan that was made of something else.

    Attributes:
        content: The plan, as a plan's file says it.
        notes: What was left out or changed, for people.
    """

    content: dict[str, Any] = field(default_factory=lambda: {"tasks": []})
    notes: list[str] = field(default_factory=list)

    def leave_out(self, ids: Iterable[object], why: str) -> None:
        """Note which of the other tool's records are in no way in the plan."""
        names = [str(one) for one in ids]
        if names:
            self.notes.append(f"left out, {why}: {', '.join(names)}")


class Ids:
    """Makes ids of tasks out of the other tool's, each once."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the id for a name: the same each time, and another for each name."""
        if name not in self._given:
            plain = re.sub(r"[^A-Za-z0-9._:/@+-]+", "-", name)[:_ID_CHARS_MAX] or "task"
            taken, found, number = set(self._given.values()), plain, 2
            while found in taken:
                suffix = f"-{number}"
                found, number = plain[: _ID_CHARS_MAX - len(suffix)] + suffix, number + 1
            self._given[name] = found
        return self._given[name]

    def changed(self) -> list[str]:
        """Return a line for each name that could not stay as it was."""
        pairs = self._given.items()
        return [f"{name!r} has become {new!r}" for name, new in pairs if name != new]


def priority(level: int) -> int:
    """Return the priority for a level of 0 to 4, of which 2 is what most have."""
    return min(max(level, 0), 4) * _PRIORITY_STEP


def task(task_id: str, title: str, text: str, deps: Iterable[str]) -> Record:
    """Return a task whose prompt is a title and the text below it."""
    head = " ".join(title.split())
    prompt = f"{head}\n\n{text.strip()}\n" if text.strip() else f"{head}\n"
    made: Record = {"id": task_id, "title": head[:_TITLE_CHARS_MAX], "prompt": prompt}
    if names := list(dict.fromkeys(deps)):
        made["deps"] = names
    return made
