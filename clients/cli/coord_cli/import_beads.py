"""Issues of beads: one JSON object a line, with `dependencies` that point at other lines.

`blocks` and `waits-for` become dependencies. By `parent-child` the parent is done after its
children, and what holds the parent holds them. An epic with children has no work of its own: it is
left out, and what waits for it waits for its children.
"""

from collections.abc import Iterable, Mapping

from coord_cli.imported import Ids, Imported, Record, priority, task

_DONE = frozenset({"closed", "tombstone"})
_NOT_READY = frozenset({"deferred", "pinned", "hooked"})
_BLOCKING = frozenset({"blocks", "waits-for"})
_PARENT = "parent-child"
_SECTIONS = (
    ("design", "Design"),
    ("acceptance_criteria", "Acceptance criteria"),
    ("notes", "Notes"),
)


def read(records: list[Record]) -> Imported:
    """Return the plan that issues amount to.

    Raises:
        KeyError: An issue has no id or no title.
    """
    issues = {issue["id"]: issue for issue in records if issue.get("_type", "issue") == "issue"}
    imported = Imported()
    open_ones = {name: issue for name, issue in issues.items() if issue.get("status") not in _DONE}
    deferred = [name for name, one in open_ones.items() if one.get("status") in _NOT_READY]
    for name in deferred:
        del open_ones[name]
    graph = _Graph(open_ones)
    ids = Ids()
    for name, issue in open_ones.items():
        if name not in graph.epics:
            deps = [ids.of(dep) for dep in graph.deps(name)]
            imported.content["tasks"].append(_task(issue, ids.of(name), deps))
    _note(imported, issues, graph, deferred)
    imported.notes += ids.changed()
    return imported


class _Graph:
    """Who waits for whom among the open issues."""

    def __init__(self, issues: Mapping[str, Record]) -> None:
        self.missing: list[str] = []
        self.other: list[str] = []
        self._issues = issues
        self._blockers: dict[str, list[str]] = {name: [] for name in issues}
        self._parents: dict[str, list[str]] = {name: [] for name in issues}
        self._children: dict[str, list[str]] = {name: [] for name in issues}
        for name, issue in issues.items():
            for edge in issue.get("dependencies") or ():
                self._add(name, edge["depends_on_id"], edge.get("type") or edge.get("dep_type"))
        self.epics = {
            name
            for name, issue in issues.items()
            if issue.get("issue_type") == "epic" and self._children[name]
        }

    def _add(self, name: str, other: str, kind: str | None) -> None:
        if kind not in _BLOCKING and kind != _PARENT:
            self.other.append(f"{name} {kind} {other}")
        elif other not in self._issues:
            self.missing.append(other)
        elif kind == _PARENT:
            self._parents[name].append(other)
            self._children[other].append(name)
        else:
            self._blockers[name].append(other)

    def deps(self, name: str) -> list[str]:
        """Return the tasks that must have landed before an issue's begins."""
        held_by = [blocker for one in self._lineage(name) for blocker in self._blockers[one]]
        found = self._tasks([*held_by, *self._children[name]])
        return [dep for dep in dict.fromkeys(found) if dep != name]

    def _lineage(self, name: str) -> list[str]:
        """Return an issue and all that it is a part of."""
        found = {name: None}
        left = [name]
        while left:
            for parent in self._parents[left.pop()]:
                if parent not in found:
                    found[parent] = None
                    left.append(parent)
        return list(found)

    def _tasks(self, names: Iterable[str]) -> list[str]:
        """Return issues with their children in the place of epics."""
        found: list[str] = []
        left, seen = list(names), set()
        while left:
            name = left.pop(0)
            if name in seen:
                continue
            seen.add(name)
            if name in self.epics:
                left += self._children[name]
            else:
                found.append(name)
        return found


def _task(issue: Record, task_id: str, deps: list[str]) -> Record:
    parts = [issue.get("description") or ""]
    parts += [f"## {title}\n\n{issue[key]}" for key, title in _SECTIONS if issue.get(key)]
    made = task(task_id, issue["title"], "\n\n".join(part for part in parts if part), deps)
    if isinstance(issue.get("priority"), int):
        made["priority"] = priority(issue["priority"])
    if labels := issue.get("labels"):
        made["labels"] = {"beads": ",".join(labels)}
    return made


def _note(
    imported: Imported, issues: Mapping[str, Record], graph: _Graph, deferred: list[str]
) -> None:
    imported.leave_out(deferred, "deferred")
    imported.leave_out(sorted(graph.epics), "epics, which their children stand for")
    imported.leave_out(graph.other, "links that hold nothing up")
    unknown = [name for name in dict.fromkeys(graph.missing) if name not in issues]
    imported.leave_out(unknown, "dependencies on issues that are not in the file")
    held = [name for name in dict.fromkeys(graph.missing) if name in deferred]
    imported.leave_out(held, "dependencies on deferred issues")
