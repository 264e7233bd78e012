"""Changing the stored graph: more dependencies for tasks that are there, and tasks that go.

Positions are kept topological as edges come (Pearce and Kelly, "A Dynamic Topological Sort
Algorithm for Directed Acyclic Graphs", ACM JEA 11, 2006): only tasks between the two ends of an
edge are looked at, to find a cycle or to move them.
"""

from collections.abc import Sequence
from itertools import chain

from coord.v1 import queue_pb2 as pb

from coord_queue.adding import cycle, unknown_dependency
from coord_queue.graph import find_cycle, in_order
from coord_queue.reports import refused, unknown
from coord_queue.schema import LIVE, UNSUCCESSFUL, Head
from coord_queue.transitions import Moves

_IDS_SHOWN = 10
_DEPENDENTS = (
    "SELECT task FROM dependents JOIN tasks ON number = task WHERE dep = ? AND position <= ?"
)
_DEPS = "SELECT dep FROM dependents JOIN tasks ON number = dep WHERE task = ? AND position >= ?"


def add_dependencies(
    moves: Moves, items: Sequence[pb.TaskDependencies]
) -> pb.AddDependenciesResponse:
    """Let tasks wait for more tasks.

    Raises:
        CoordError: INVALID_ARGUMENT with reason UNKNOWN_DEPENDENCY or CYCLE.
    """
    results = {number: _add_to(moves, items[number]) for number in _dependencies_first(items)}
    return pb.AddDependenciesResponse(results=[results[number] for number in range(len(items))])


def remove_tasks(moves: Moves, task_ids: Sequence[str]) -> pb.RemoveTasksResponse:
    """Forget tasks that nothing waits for."""
    known = moves.heads(task_ids)
    position = {head.id: _position(moves, head.number) for head in known.values()}
    results: dict[str, pb.ReportResult] = {}
    # The last ones first: what depends on a task of the batch is gone by then, if it may go.
    for task_id in sorted(dict.fromkeys(task_ids), key=lambda one: -position.get(one, 0)):
        head = known.get(task_id)
        results[task_id] = _remove(moves, head) if head else unknown(task_id)
    return pb.RemoveTasksResponse(results=[results[task_id] for task_id in task_ids])


def _dependencies_first(items: Sequence[pb.TaskDependencies]) -> list[int]:
    """Return in which order to connect a batch: a task before those that are to wait for it.

    Then nothing that the batch itself brings has to be moved. In the opposite order a chain of n
    tasks would be moved as a whole for each of its edges.
    """
    deps: dict[str, list[str]] = {}
    for item in items:
        deps.setdefault(item.task_id, []).extend(item.deps)
    if find_cycle(deps):  # Whether its edges come about depends on the tasks' states.
        return list(range(len(items)))
    place = {task_id: number for number, task_id in enumerate(in_order(deps))}
    return sorted(range(len(items)), key=lambda number: place[items[number].task_id])


def _add_to(moves: Moves, item: pb.TaskDependencies) -> pb.ReportResult:
    # Read for each item: the one before may have aborted what this one names.
    known = moves.heads([item.task_id, *item.deps])
    head = known.get(item.task_id)
    if head is None:
        return unknown(item.task_id)
    for dep in item.deps:
        if dep not in known:
            raise unknown_dependency(item.task_id, dep)
    if head.state != pb.TASK_STATE_PENDING:
        message = f"task {head.id!r} does not wait any more; retry it, or add another task"
        return refused(head, "NOT_PENDING", message)
    query = "SELECT dep FROM dependents WHERE task = ?"
    present = {dep for (dep,) in moves.sql.execute(query, (head.number,))}
    new = [dep for dep in dict.fromkeys(item.deps) if known[dep].number not in present]
    if new:
        _connect(moves, head, [known[dep] for dep in new])
        _wait_for(moves, head, [known[dep] for dep in new])
    return pb.ReportResult(task_id=head.id, state=head.state)


def _wait_for(moves: Moves, head: Head, deps: Sequence[Head]) -> None:
    """Count edges that are stored, and tell of them."""
    ids = [dep.id for dep in deps]
    left = sum(dep.state != pb.TASK_STATE_COMPLETE for dep in deps)
    moves.sql.execute(
        "UPDATE tasks SET deps_left = deps_left + ? WHERE number = ?", (left, head.number)
    )
    moves.sql.execute(
        "UPDATE specs SET more_deps = trim(more_deps || ' ' || ?) WHERE task = ?",
        (" ".join(ids), head.number),
    )
    pending = pb.TASK_STATE_PENDING
    moves.count(pending, -1, free=head.deps_left == 0)
    head.deps_left += left
    moves.count(pending, 1, free=head.deps_left == 0)
    kind = pb.QUEUE_EVENT_KIND_DEPENDENCIES_ADDED
    event = pb.QueueEvent(task_id=head.id, kind=kind, deps=ids)
    event.from_state = event.to_state = pending
    moves.emit(event)
    for dep in deps:
        if dep.state in UNSUCCESSFUL and head.state == pending:
            moves.abort_dependents(dep)
            head.state = pb.TASK_STATE_ABORTED


def _connect(moves: Moves, task: Head, deps: Sequence[Head]) -> None:
    """Store edges, and move what their ends have between them into a topological order.

    Raises:
        CoordError: INVALID_ARGUMENT with reason CYCLE.
    """
    low = _position(moves, task.number)
    behind = {one.number: at for one in deps if (at := _position(moves, one.number)) >= low}
    if behind:
        after = _reached(moves, _DEPENDENTS, [task.number], max(behind.values()))
        if met := behind.keys() & after.keys():
            raise cycle(_path(moves, after, min(met)))
        before = _reached(moves, _DEPS, list(behind), low)
        _reorder(moves, [before, after])
    moves.sql.executemany(
        "INSERT INTO dependents VALUES (?, ?)", [(dep.number, task.number) for dep in deps]
    )


def _position(moves: Moves, number: int) -> int:
    query = "SELECT position FROM tasks WHERE number = ?"
    return int(moves.sql.execute(query, (number,)).fetchone()[0])


def _reached(moves: Moves, query: str, starts: Sequence[int], bound: int) -> dict[int, int]:
    """Return the tasks that are reached from some, without passing a position.

    Returns:
        For each task the one from which it was reached; the starts from themselves.
    """
    reached = {start: start for start in starts}
    stack = list(starts)
    while stack:
        number = stack.pop()
        for (following,) in moves.sql.execute(query, (number, bound)):
            if following not in reached:
                reached[following] = number
                stack.append(following)
    return reached


def _path(moves: Moves, reached: dict[int, int], end: int) -> list[str]:
    """Return the ids on the way from `end` back to the start: each depends on the next."""
    path = [end]
    while reached[path[-1]] != path[-1]:
        path.append(reached[path[-1]])
    query = "SELECT number, id FROM tasks WHERE number IN (SELECT value FROM json_each(?))"
    ids = dict(moves.sql.execute(query, (str(path),)).fetchall())
    return [ids[number] for number in path]


def _reorder(moves: Moves, parts: Sequence[dict[int, int]]) -> None:
    """Share the positions of all parts out again: the first part's tasks first."""
    position = {one: _position(moves, one) for one in chain(*parts)}
    order = [one for part in parts for one in sorted(part, key=lambda number: position[number])]
    moves.sql.executemany(
        "UPDATE tasks SET position = ? WHERE number = ?",
        zip(sorted(position.values()), order, strict=True),
    )


def _remove(moves: Moves, head: Head) -> pb.ReportResult:
    if head.state in LIVE:
        return refused(head, "TASK_LIVE", f"task {head.id!r} is under way; cancel it first")
    query = (
        "SELECT id FROM dependents JOIN tasks ON number = task WHERE dep = ? AND state != ?"
        " ORDER BY number"
    )
    parameters = (head.number, pb.TASK_STATE_COMPLETE)
    waiting = [one for (one,) in moves.sql.execute(query, parameters)]
    if waiting:
        return _needed(head, waiting)
    moves.sql.execute("DELETE FROM dependents WHERE ?1 IN (dep, task)", (head.number,))
    moves.sql.execute("DELETE FROM attempts WHERE task = ?", (head.number,))
    moves.sql.execute("DELETE FROM specs WHERE task = ?", (head.number,))
    moves.sql.execute("DELETE FROM tasks WHERE number = ?", (head.number,))
    free = head.state == pb.TASK_STATE_PENDING and head.deps_left == 0
    moves.count(head.state, -1, free=free)
    event = pb.QueueEvent(task_id=head.id, kind=pb.QUEUE_EVENT_KIND_REMOVED)
    event.from_state = head.state
    moves.emit(event)
    return pb.ReportResult(task_id=head.id, state=head.state)


def _needed(head: Head, dependents: Sequence[str]) -> pb.ReportResult:
    shown = dependents[:_IDS_SHOWN]
    more = ", ..." if len(dependents) > len(shown) else ""
    message = (
        f"{len(dependents)} tasks depend on {head.id!r}: {', '.join(shown)}{more}; remove them too"
    )
    result = refused(head, "HAS_DEPENDENTS", message)
    result.error.metadata.update(dependents=str(len(dependents)), first=" ".join(shown))
    return result
