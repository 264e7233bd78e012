"""Issues of GitHub, as `gh issue list --json number,title,body,labels,state,...` writes them.

What an issue waits for is read from `blockedBy`, where it was asked for, and from sentences such as
"blocked by #12" or "depends on #12 and #13" in its body.
"""

import re
from collections.abc import Iterator

from coord_cli.imported import Ids, Imported, Record, priority, task

_WAITS = re.compile(
    r"\b(?:blocked\s+by|depends\s+(?:up)?on|requires)\s*:?\s*"
    r"((?:(?:[\w.-]+/[\w.-]+)?#\d+|https?://\S+/issues/\d+)(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)"
    r"(?=#|[\w.-]+/[\w.-]+#|https?://))?)+",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w/])#(\d+)")
_ELSEWHERE = re.compile(r"[\w.-]+/[\w.-]+#\d+|https?://\S+/issues/\d+")
_LEVEL = re.compile(r"(?:priority\s*[:/ -]?\s*)?p([0-4])", re.IGNORECASE)
_WORDS = {"critical": 0, "urgent": 0, "high": 1, "medium": 2, "normal": 2, "low": 3}
_WORD = re.compile(rf"priority\s*[:/ -]\s*({'|'.join(_WORDS)})", re.IGNORECASE)


def read(records: list[Record]) -> Imported:
    """Return the plan that issues amount to.

    Raises:
        KeyError: An issue has no number or no title.
        TypeError: Its number is none.
    """
    imported, ids = Imported(), Ids()
    issues = {_number(issue): issue for issue in records}
    open_ones = {
        number: issue
        for number, issue in issues.items()
        if issue.get("state", "OPEN").upper() == "OPEN"
    }
    closed = set(issues) - set(open_ones)
    unknown: list[str] = []
    for number, issue in open_ones.items():
        waits = list(dict.fromkeys(_waits(issue)))
        deps = [other for other in waits if other in open_ones and other != number]
        left = [other for other in waits if other not in open_ones and other not in closed]
        unknown += [f"#{number} waits for #{other}" for other in left]
        unknown += [f"#{number} waits for {other}" for other in _elsewhere(issue)]
        made = _task(issue, ids.of(str(number)), [ids.of(str(dep)) for dep in deps])
        imported.content["tasks"].append(made)
    imported.leave_out(unknown, "since these issues are not in the file")
    return imported


def _number(issue: Record) -> int:
    number = issue["number"]
    if type(number) is not int:
        raise TypeError(f"{number!r} is no number of an issue")
    return number


def _waits(issue: Record) -> Iterator[int]:
    blockers = issue.get("blockedBy") or ()
    nodes = blockers.get("nodes", ()) if isinstance(blockers, dict) else blockers
    yield from (node["number"] for node in nodes)
    for sentence in _WAITS.finditer(issue.get("body") or ""):
        yield from (int(number) for number in _NUMBER.findall(sentence[0]))


def _elsewhere(issue: Record) -> Iterator[str]:
    for sentence in _WAITS.finditer(issue.get("body") or ""):
        yield from _ELSEWHERE.findall(sentence[0])


def _task(issue: Record, task_id: str, deps: list[str]) -> Record:
    made = task(task_id, issue["title"], issue.get("body") or "", deps)
    names = [label["name"] for label in issue.get("labels") or ()]
    level = next((level for level in map(_level, names) if level is not None), None)
    if level is not None:
        made["priority"] = priority(level)
    labels = {"github": ",".join(names)} if names else {}
    if url := issue.get("url"):
        labels["url"] = url
    if labels:
        made["labels"] = labels
    return made


def _level(label: str) -> int | None:
    if found := _LEVEL.fullmatch(label):
        return int(found[1])
    if found := _WORD.fullmatch(label):
        return _WORDS[found[1].lower()]
    return None
