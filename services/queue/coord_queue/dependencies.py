"""Changing the stored graph: more dependencies for tasks that are there, and tasks that go.

Positions are kept topological as edges come (after Pearce and Kelly, "A Dynamic Topological Sort
Algorithm for Directed Acyclic Graphs", ACM JEA 11, 2006): only tasks between the ends of edges that
point backwards are looked at, to find a cycle or to move them, and each of them once for a batch.
"""

from collections.abc import Sequence
from itertools import chain

from coord.v1 import queue_pb2 as pb

from coord_queue.adding import cycle, unknown_dependency
from coord_queue.graph import find_cycle, in_order
from coord_queue.reports import refused, unknown
from coord_queue.schema import LIVE, UNSUCCESSFUL, Head
from coord_queue.transitions import Moves

# The numbers of a dependency, and of the task that waits for it.
Edge = tuple[int, int]

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
    edges: list[Edge] = []
    results = [_add_to(moves, item, edges) for item in items]
    _restore_order(moves, edges)
    return pb.AddDependenciesResponse(results=results)


def remove_tasks(moves: Moves, task_ids: Sequence[str]) -> pb.RemoveTasksResponse:
    """Forget tasks that nothing waits for."""
    known = moves.heads(task_ids)
    positions = _positions(moves, [head.number for head in known.values()])
    position = {head.id: positions[head.number] for head in known.values()}
    results: dict[str, pb.ReportResult] = {}
    # The last ones first: what depends on a task of the batch is gone by then, if it may go.
    for task_id in sorted(dict.fromkeys(task_ids), key=lambda one: -position.get(one, 0)):
        head = known.get(task_id)
        results[task_id] = _remove(moves, head) if head else unknown(task_id)
    return pb.RemoveTasksResponse(results=[results[task_id] for task_id in task_ids])


def _add_to(moves: Moves, item: pb.TaskDependencies, edges: list[Edge]) -> pb.ReportResult:
    """Store the edges of an item, wherever its tasks stand, and note them."""
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
    added = [(known[dep].number, head.number) for dep in new]
    moves.sql.executemany("INSERT INTO dependents VALUES (?, ?)", added)
    edges += added
    if new:
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


def _restore_order(moves: Moves, edges: Sequence[Edge]) -> None:
    """Move what stands in the wrong order since some edges came, all at once.

    Raises:
        CoordError: INVALID_ARGUMENT with reason CYCLE.
    """
    position = _positions(moves, list(chain(*edges)))
    wrong = [(dep, task) for dep, task in edges if position[dep] >= position[task]]
    if not wrong:
        return
    low = min(position[task] for _, task in wrong)
    high = max(position[dep] for dep, _ in wrong)
    moved = _reached(moves, _DEPENDENTS, [task for _, task in wrong], high)
    deps = _reached(moves, _DEPS, list(moved), low)
    if found := find_cycle({task: deps[task] for task in moved}):
        raise cycle(_ids(moves, found))
    position = _positions(moves, list(deps))
    # What stays behind keeps its order, so that nothing of it comes to stand later than it did.
    stays_first = sorted(deps, key=lambda task: (task in moved, position[task]))
    moves.sql.executemany(
        "UPDATE tasks SET position = ? WHERE number = ?",
        zip(
            sorted(position.values()),
            in_order({task: deps[task] for task in stays_first}),
            strict=True,
        ),
    )


def _positions(moves: Moves, numbers: Sequence[int]) -> dict[int, int]:
    query = "SELECT number, position FROM tasks WHERE number IN (SELECT value FROM json_each(?))"
    return dict(moves.sql.execute(query, (str(numbers),)).fetchall())


def _reached(moves: Moves, query: str, starts: Sequence[int], bound: int) -> dict[int, list[int]]:
    """Return the tasks that are reached from some without passing a position, with their next."""
    reached: dict[int, list[int]] = {}
    stack = list(starts)
    while stack:
        number = stack.pop()
        if number not in reached:
            rows = moves.sql.execute(query, (number, bound)).fetchall()
            reached[number] = [following for (following,) in rows]
            stack += reached[number]
    return reached


def _ids(moves: Moves, numbers: Sequence[int]) -> list[str]:
    query = "SELECT number, id FROM tasks WHERE number IN (SELECT value FROM json_each(?))"
    ids = dict(moves.sql.execute(query, (str(numbers),)).fetchall())
    return [ids[number] for number in numbers]


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
    number = len(dependents)
    what = "1 task depends" if number == 1 else f"{number} tasks depend"
    message = f"{what} on {head.id!r}: {', '.join(shown)}{more}; remove them too"
    result = refused(head, "HAS_DEPENDENTS", message)
    result.error.metadata.update(dependents=str(len(dependents)), first=" ".join(shown))
    return result
