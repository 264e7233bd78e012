"""What the store answers without changing anything."""

import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from coord.times import duration_ns
from coord.v1 import queue_pb2 as pb

from coord_queue.rows import (
    TASK_COLUMNS,
    TASKS,
    TaskRow,
    ended_attempts,
    ended_by_token,
    task_of,
    without_bodies,
)
from coord_queue.schema import IN_BACKOFF, LIVE, RANKED
from coord_queue.store import LiveAttempt, Page

# How many tasks a page of a filtered list looks at: more would hold up the event loop.
_LOOKED_AT_MAX = 5_000
_LIVE = ", ".join(str(state) for state in sorted(LIVE))


def get(sql: sqlite3.Connection, project: str, task_id: str) -> pb.Task | None:
    """Return a task with all its attempts."""
    query = f"SELECT {TASK_COLUMNS} FROM {TASKS} WHERE project = ? AND id = ?"  # noqa: S608 - names are constants, values parameters.
    found = sql.execute(query, (project, task_id)).fetchone()
    if found is None:
        return None
    row = TaskRow._make(found)
    return task_of(row, ended_attempts(sql, row.number))


def graph_page(
    sql: sqlite3.Connection, project: str, after: int, size: int
) -> tuple[list[pb.GraphNode], int]:
    """Return tasks in a topological order, and the position after which to go on; 0 at the end."""
    query = (
        f"SELECT number, position, id, state, deps_left, spec FROM {TASKS}"  # noqa: S608 - a constant.
        " WHERE project = ? AND position > ? ORDER BY position LIMIT ?"
    )
    rows = sql.execute(query, (project, after, size + 1)).fetchall()
    nodes: dict[int, pb.GraphNode] = {}
    for number, _, task_id, state, deps_left, spec in rows[:size]:
        title = pb.TaskSpec.FromString(spec).title
        node = pb.GraphNode(task_id=task_id, title=title, state=state, deps_left=deps_left)
        nodes[number] = node
    edges = (
        "SELECT task, id FROM dependents JOIN tasks ON number = dep"
        " WHERE task IN (SELECT value FROM json_each(?)) ORDER BY number"
    )
    for number, dep in sql.execute(edges, (str(list(nodes)),)):
        nodes[number].deps.append(dep)
    return list(nodes.values()), rows[size - 1][1] if len(rows) > size else 0


def list_page(sql: sqlite3.Connection, project: str, page: Page) -> tuple[list[pb.Task], int]:
    """Return tasks, and the number after which to go on; 0 at the end.

    A page may end early: only so many tasks are looked at.
    """
    # Not by an index of the project: its tasks are nearly all, and would have to be sorted.
    query = (
        f"SELECT {TASK_COLUMNS} FROM {TASKS} WHERE +project = ? AND number > ?"  # noqa: S608 - names are constants, values parameters.
        " ORDER BY number LIMIT ?"
    )
    chosen: list[TaskRow] = []
    last, looked_at = page.after, 0
    for found in sql.execute(query, (project, page.after, _LOOKED_AT_MAX + 1)):
        if len(chosen) == page.size or looked_at == _LOOKED_AT_MAX:
            return _listed(sql, chosen), last
        row = TaskRow._make(found)
        last, looked_at = row.number, looked_at + 1
        if _matches(row, page):
            chosen.append(row)
    return _listed(sql, chosen), 0


def live_page(
    sql: sqlite3.Connection, page: Page, numbers: Sequence[int]
) -> tuple[list[pb.Task], int]:
    """Return tasks of which attempts live, and the number after which to go on; 0 at the end.

    Args:
        sql: Where to read.
        page: Which tasks.
        numbers: The numbers of all that may be among them, in order.
    """
    left = numbers[bisect_right(numbers, page.after) :]
    query = (
        f"SELECT {TASK_COLUMNS} FROM {TASKS}"  # noqa: S608 - names are constants, values parameters.
        " WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number"
    )
    rows = map(TaskRow._make, sql.execute(query, (str(left[: page.size]),)))
    chosen = [row for row in rows if _matches(row, page)]
    return _listed(sql, chosen), left[page.size - 1] if len(left) > page.size else 0


def live(sql: sqlite3.Connection) -> list[LiveAttempt]:
    """Return all attempts that live."""
    columns = "project, id, token, worker, ready_ns, assigned_ns, started_ns, submitted_ns, spec"
    query = f"SELECT {columns} FROM {TASKS} WHERE state IN ({_LIVE})"  # noqa: S608 - constants.
    return [_live(row) for row in sql.execute(query)]


def at_work(sql: sqlite3.Connection) -> list[tuple[str, int, str]]:
    """Return project, number and worker of all tasks of which attempts live."""
    query = f"SELECT project, number, worker FROM tasks WHERE state IN ({_LIVE})"  # noqa: S608 - constants.
    return sql.execute(query).fetchall()


def counts(sql: sqlite3.Connection) -> Counter[tuple[str, pb.TaskState, bool]]:
    """Return how many tasks there are, by (project, state, whether free)."""
    pending = pb.TASK_STATE_PENDING
    query = (
        f"SELECT project, state, state = {pending} AND deps_left = 0 AS free, count(*)"  # noqa: S608 - a constant.
        " FROM tasks GROUP BY project, state, free"
    )
    rows = sql.execute(query)
    return Counter({(project, state, bool(free)): tasks for project, state, free, tasks in rows})


def newest_token(sql: sqlite3.Connection) -> int:
    """Return a fencing token above which none was given."""
    return int(sql.execute("SELECT newest FROM tokens").fetchone()[0])


def unfinished_deps(
    sql: sqlite3.Connection, project: str, task_id: str, limit: int
) -> list[tuple[str, pb.TaskState]]:
    """Return the first dependencies of a task that are not COMPLETE."""
    query = (
        "SELECT dep.id, dep.state FROM tasks AS task"
        " JOIN dependents ON dependents.task = task.number"
        " JOIN tasks AS dep ON dep.number = dependents.dep"
        " WHERE task.project = ? AND task.id = ? AND dep.state != ?"
        " ORDER BY dep.number LIMIT ?"
    )
    return sql.execute(query, (project, task_id, pb.TASK_STATE_COMPLETE, limit)).fetchall()


def _live(row: tuple[str, str, int, str, int, int, int, int, bytes]) -> LiveAttempt:
    *names, started_ns, submitted_ns, spec = row
    # What is in the merge queue has no timeout any more.
    timeout_ns = 0 if submitted_ns else duration_ns(pb.TaskSpec.FromString(spec).timeout)
    return LiveAttempt._make((*names, started_ns, timeout_ns, submitted_ns > 0))


def oldest_ready_ns(sql: sqlite3.Connection, project: str, now_ns: int) -> int:
    """Return since when the oldest ready task is ready; 0 where none is."""
    ranked = (
        f"SELECT min(ready_ns) FROM tasks INDEXED BY tasks_ready WHERE project = ? AND {RANKED}"  # noqa: S608 - a constant.
    )
    back = f"SELECT min(not_before_ns) FROM tasks WHERE project = ? AND {IN_BACKOFF}"  # noqa: S608 - a constant.
    oldest_ns: int | None = sql.execute(ranked, (project,)).fetchone()[0]
    back_ns: int | None = sql.execute(back, (project,)).fetchone()[0]
    # A ranked task is ready whatever the clock says: it may have been set back.
    due = [back_ns] if back_ns and back_ns <= now_ns else []
    return min([*due, *([oldest_ns] if oldest_ns else [])], default=0)


def _matches(row: TaskRow, page: Page) -> bool:
    if page.states and row.state not in page.states:
        return False
    if page.worker and row.worker != page.worker:
        return False
    labels = page.labels
    return not labels or labels.items() <= dict(pb.TaskSpec.FromString(row.spec).labels).items()


def _listed(sql: sqlite3.Connection, rows: Sequence[TaskRow]) -> list[pb.Task]:
    ended = ended_by_token(sql, [row.token for row in rows])
    tasks = [task_of(row, [ended[row.token]] if row.token in ended else []) for row in rows]
    for task in tasks:
        without_bodies(task.spec)
    return tasks
