"""Adding a batch of tasks: what is wrong with it, and its rows."""

from collections.abc import Iterable, Sequence

from coord.errors import CoordError, already_exists, invalid_argument
from coord.v1 import queue_pb2 as pb

from coord_queue.graph import find_cycle, in_order
from coord_queue.ready import PRIORITY_DEFAULT, rank_ns
from coord_queue.rows import TASKS, ids_json
from coord_queue.schema import UNSUCCESSFUL, Head
from coord_queue.transitions import Moves

_IDS_SHOWN = 10
_INSERT = (
    "INSERT INTO tasks (number, project, id, position, state, needs, rank_ns, deps_left,"
    " created_ns, ready_ns, changed_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9)"
)


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
    found = find_cycle(deps) if any(deps.values()) else []
    if found:
        raise cycle(found)


def cycle(ids: Sequence[str]) -> CoordError:
    """Return the error for tasks that depend on themselves.

    Args:
        ids: Each depends on the next, and the last on the first.
    """
    shown = ids if len(ids) <= _IDS_SHOWN else [*ids[:_IDS_SHOWN], "..."]
    return invalid_argument(
        "CYCLE",
        f"tasks depend on themselves: {' -> '.join([*shown, ids[0]])}",
        length=str(len(ids)),
        first=" ".join(ids[:_IDS_SHOWN]),
        last=" ".join(ids[-_IDS_SHOWN:]),
    )


def unknown_dependency(task_id: str, dep: str) -> CoordError:
    """Return the error for a task that depends on one that is not there."""
    return invalid_argument(
        "UNKNOWN_DEPENDENCY",
        f"task {task_id!r} depends on {dep!r}, which is neither stored nor in the batch",
        task_id=task_id,
        dependency=dep,
    )


def add_batch(moves: Moves, specs: Sequence[pb.TaskSpec], ageing_ns: int) -> pb.AddTasksResponse:
    """Add a checked batch.

    Raises:
        CoordError: INVALID_ARGUMENT with reason UNKNOWN_DEPENDENCY, or ALREADY_EXISTS with reason
            TASK_EXISTS.
    """
    existing = _existing(moves, specs)
    new = [spec for spec in specs if spec.id not in existing]
    deps = {dep for spec in new for dep in spec.deps}
    known = moves.heads(sorted(deps))
    missing = deps - known.keys()
    if missing:
        _check_known(new, missing - {spec.id for spec in new})
    _insert(moves, new, known, ageing_ns)
    return pb.AddTasksResponse(task_ids=[spec.id for spec in specs], existing=len(existing))


def _existing(moves: Moves, specs: Sequence[pb.TaskSpec]) -> set[str]:
    query = (
        f"SELECT id, spec FROM {TASKS}"  # noqa: S608 - a constant.
        " WHERE project = ? AND id IN (SELECT value FROM json_each(?))"
    )
    rows = moves.sql.execute(query, (moves.project, ids_json(spec.id for spec in specs)))
    stored: dict[str, bytes] = dict(rows.fetchall())
    for spec in specs if stored else ():
        if stored.get(spec.id, _serialized(spec)) != _serialized(spec):
            raise already_exists(
                "TASK_EXISTS",
                f"task {spec.id!r} is there already and differs; give the new one another id",
                task_id=spec.id,
            )
    return set(stored)


def _check_known(specs: Iterable[pb.TaskSpec], missing: set[str]) -> None:
    for spec in specs:
        for dep in spec.deps:
            if dep in missing:
                raise unknown_dependency(spec.id, dep)


def _insert(
    moves: Moves, specs: Sequence[pb.TaskSpec], known: dict[str, Head], ageing_ns: int
) -> None:
    sql, project, now_ns = moves.sql, moves.project, moves.now_ns
    first = _next(moves, "SELECT max(number) FROM tasks", ())
    numbers = {spec.id: number for number, spec in enumerate(specs, first)}
    positions = _positions(moves, specs)
    required = [_required(spec.required_capabilities) for spec in specs]
    needs = {names: _needs(moves, names) for names in set(required)}
    left = [_deps_left(spec.deps, known) if spec.deps else 0 for spec in specs]
    pending = pb.TASK_STATE_PENDING
    sql.executemany(
        _INSERT,
        [
            (
                numbers[spec.id],
                project,
                spec.id,
                positions[spec.id],
                pending,
                needs[names],
                rank_ns(_priority(spec), now_ns, ageing_ns),
                deps_left,
                now_ns,
            )
            for spec, names, deps_left in zip(specs, required, left, strict=True)
        ],
    )
    sql.executemany(
        "INSERT INTO specs (task, spec) VALUES (?, ?)",
        [(numbers[spec.id], _serialized(spec)) for spec in specs],
    )
    numbers |= {head.id: head.number for head in known.values()}
    sql.executemany(
        "INSERT INTO dependents VALUES (?, ?)",
        [(numbers[dep], numbers[spec.id]) for spec in specs for dep in spec.deps],
    )
    moves.count(pending, left.count(0), free=True)
    moves.count(pending, len(left) - left.count(0))
    event = pb.QueueEvent(to_state=pending)
    moves.emit_all(event, ("task_id",), [(spec.id,) for spec in specs])
    _abort_hopeless(moves, known)


def _next(moves: Moves, query: str, parameters: tuple[str, ...]) -> int:
    return int(moves.sql.execute(query, parameters).fetchone()[0] or 0) + 1


def _positions(moves: Moves, specs: Sequence[pb.TaskSpec]) -> dict[str, int]:
    """Return topological positions: behind those of all tasks that are there."""
    query = "SELECT max(position) FROM tasks WHERE project = ?"
    deps = {spec.id: spec.deps for spec in specs}
    order = in_order(deps) if any(deps.values()) else deps
    first = _next(moves, query, (moves.project,))
    return {task_id: position for position, task_id in enumerate(order, first)}


def _needs(moves: Moves, names: str) -> int:
    query = "SELECT id FROM needs WHERE capabilities = ?"
    row = moves.sql.execute(query, (names,)).fetchone()
    if row is None:
        insert = "INSERT INTO needs (capabilities) VALUES (?) RETURNING id"
        row = moves.sql.execute(insert, (names,)).fetchone()
        moves.needs[row[0]] = frozenset(names.split())
    return int(row[0])


def _priority(spec: pb.TaskSpec) -> int:
    return spec.priority if spec.HasField("priority") else PRIORITY_DEFAULT


def _serialized(spec: pb.TaskSpec) -> bytes:
    return spec.SerializeToString(deterministic=True)


def _required(capabilities: Sequence[str]) -> str:
    return " ".join(sorted(set(capabilities))) if capabilities else ""


def _deps_left(deps: Iterable[str], known: dict[str, Head]) -> int:
    return sum(dep not in known or known[dep].state != pb.TASK_STATE_COMPLETE for dep in deps)


def _abort_hopeless(moves: Moves, known: dict[str, Head]) -> None:
    """Abort new tasks whose dependency had ended without success before they came."""
    for head in known.values():
        if head.state in UNSUCCESSFUL:
            moves.abort_dependents(head)
