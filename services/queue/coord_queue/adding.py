"""Adding a batch of tasks: what is wrong with it, and its rows."""

from collections.abc import Sequence

from coord.errors import already_exists, invalid_argument
from coord.v1 import queue_pb2 as pb

from coord_queue.graph import find_cycle
from coord_queue.schema import UNSUCCESSFUL, TaskRow, task_rows
from coord_queue.transitions import Moves

PRIORITY_DEFAULT = 100
_IDS_SHOWN = 10


def check_batch(specs: Sequence[pb.TaskSpec]) -> None:
    """Refuse a batch with two tasks of one id, or with a cycle.

    Raises:
        CoordError: INVALID_ARGUMENT with reason DUPLICATE_TASK or CYCLE.
    """
    deps: dict[str, Sequence[str]] = {}
    for spec in specs:
        if spec.id in deps:
            raise invalid_argument(
                "DUPLICATE_TASK", f"two tasks have the id {spec.id!r}", task_id=spec.id
            )
        deps[spec.id] = spec.deps
    cycle = find_cycle(deps)
    if cycle:
        shown = cycle if len(cycle) <= _IDS_SHOWN else [*cycle[:_IDS_SHOWN], "..."]
        raise invalid_argument(
            "CYCLE",
            f"tasks depend on themselves: {' -> '.join([*shown, cycle[0]])}",
            length=str(len(cycle)),
            first=" ".join(cycle[:_IDS_SHOWN]),
            last=" ".join(cycle[-_IDS_SHOWN:]),
        )


def add_batch(moves: Moves, specs: Sequence[pb.TaskSpec]) -> pb.AddTasksResponse:
    """Add a checked batch.

    Raises:
        CoordError: INVALID_ARGUMENT with reason UNKNOWN_DEPENDENCY, or ALREADY_EXISTS with reason
            TASK_EXISTS.
    """
    named = [*(spec.id for spec in specs), *(dep for spec in specs for dep in spec.deps)]
    known = _rows(moves, named)
    new = [spec for spec in specs if _is_new(spec, known)]
    batch = {spec.id for spec in specs}
    for spec in new:
        _check_deps(spec, batch, known)
    _insert(moves, new, known)
    return pb.AddTasksResponse(task_ids=[spec.id for spec in specs], existing=len(specs) - len(new))


def _rows(moves: Moves, ids: Sequence[str]) -> dict[str, TaskRow]:
    known: dict[str, TaskRow] = {}
    # SQLite takes at most 32,766 parameters.
    for begin in range(0, len(ids), 10_000):
        part = ids[begin : begin + 10_000]
        known |= task_rows(moves.transaction.sql, moves.project, part)
    return known


def _is_new(spec: pb.TaskSpec, known: dict[str, TaskRow]) -> bool:
    row = known.get(spec.id)
    if row is not None and row.spec != spec.SerializeToString(deterministic=True):
        raise already_exists(
            "TASK_EXISTS",
            f"task {spec.id!r} is there already and differs; give the new one another id",
            task_id=spec.id,
        )
    return row is None


def _check_deps(spec: pb.TaskSpec, batch: set[str], known: dict[str, TaskRow]) -> None:
    for dep in spec.deps:
        if dep not in batch and dep not in known:
            raise invalid_argument(
                "UNKNOWN_DEPENDENCY",
                f"task {spec.id!r} depends on {dep!r}, which is neither stored nor in the batch",
                task_id=spec.id,
                dependency=dep,
            )


def _insert(moves: Moves, specs: Sequence[pb.TaskSpec], known: dict[str, TaskRow]) -> None:
    sql, numbers = moves.transaction.sql, {row.id: row.number for row in known.values()}
    for spec in specs:
        numbers[spec.id] = _insert_task(moves, spec, known)
    sql.executemany(
        "INSERT INTO dependents VALUES (?, ?)",
        [(numbers[dep], numbers[spec.id]) for spec in specs for dep in spec.deps],
    )
    _abort_hopeless(moves, specs, known)


def _insert_task(moves: Moves, spec: pb.TaskSpec, known: dict[str, TaskRow]) -> int:
    now_ns = moves.transaction.now_ns
    priority = spec.priority if spec.HasField("priority") else PRIORITY_DEFAULT
    deps_left = sum(
        dep not in known or known[dep].state != pb.TASK_STATE_COMPLETE for dep in spec.deps
    )
    cursor = moves.transaction.sql.execute(
        "INSERT INTO tasks (project, id, spec, state, priority, deps_left, created_ns, changed_ns)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            moves.project,
            spec.id,
            spec.SerializeToString(deterministic=True),
            pb.TASK_STATE_PENDING,
            priority,
            deps_left,
            now_ns,
            now_ns,
        ),
    )
    moves.added(spec.id, pb.TASK_STATE_PENDING)
    return int(cursor.lastrowid or 0)


def _abort_hopeless(moves: Moves, specs: Sequence[pb.TaskSpec], known: dict[str, TaskRow]) -> None:
    """Abort new tasks whose dependency had ended without success before they came."""
    for dep in {dep for spec in specs for dep in spec.deps}:
        row = known.get(dep)
        if row is not None and row.state in UNSUCCESSFUL:
            moves.abort_dependents(row)
