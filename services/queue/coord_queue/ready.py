"""Which tasks could be assigned now, in which order.

Lower rank goes first: the time of adding, moved by the ageing time for each level of priority. So
an older task overtakes a more urgent one in the end, and ranks never have to be computed again.
"""

import heapq
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

from coord.v1 import queue_pb2 as pb
from coord_runtime.globs import Comparison

from coord_queue.rows import TASKS, full_spec, ids_json
from coord_queue.schema import HEAD_COLUMNS, IN_BACKOFF, RANKED, Head

PRIORITY_DEFAULT = 100

_LOOKED_AT_MAX = 10_000
_COLUMNS = f"{HEAD_COLUMNS}, attempt, not_before_ns, ready_ns, needs, rank_ns, spec, more_deps"
_RANKED = (
    f"SELECT {_COLUMNS} FROM {TASKS} WHERE project = ? AND needs = ? AND {RANKED}"  # noqa: S608 - names are constants, values parameters.
    " AND (rank_ns, number) > (?, ?) ORDER BY rank_ns, number"
)
# Whose backoff is over. Few, as a rule: those that come first are enough.
_BACK = (
    f"SELECT {_COLUMNS} FROM {TASKS} WHERE project = ? AND {IN_BACKOFF}"  # noqa: S608 - names are constants, values parameters.
    " AND not_before_ns <= ? AND (rank_ns, number) > (?, ?)"
    f" ORDER BY rank_ns, number LIMIT {_LOOKED_AT_MAX}"
)
# How many tasks wait for each, directly: all that hang on one are only known after a walk.
_DEPENDENTS = (
    "SELECT dep, count(*) FROM dependents WHERE dep IN (SELECT value FROM json_each(?))"
    " GROUP BY dep"
)
_HEAD_FIELDS = len(Head.__slots__)
_RANK_MIN = -(2**63)


class Candidate(NamedTuple):
    """A task that may be assigned."""

    head: Head
    attempt: int
    not_before_ns: int
    ready_ns: int
    needs: int
    rank_ns: int
    spec: bytes
    more_deps: str

    def full_spec(self) -> pb.TaskSpec:
        """Return the spec as the contract has it."""
        return full_spec(self.spec, self.more_deps)


@dataclass(frozen=True)
class Wish:
    """Which ready tasks are wanted.

    Attributes:
        limit: The most tasks.
        needs: The sets of capabilities that tasks may require, by id.
        back_ns: Also tasks whose backoff has ended by then; 0 where there are none.
        excluded: Globs of files; tasks whose paths may meet one of them are passed over. With any,
            only the first 10,000 tasks are looked at.
        after: Only tasks of a higher (rank, number) than this.
    """

    limit: int
    needs: Sequence[int]
    back_ns: int
    excluded: Sequence[str] = ()
    after: tuple[int, ...] = (_RANK_MIN, 0)


def rank_ns(priority: int, created_ns: int, ageing_ns: int) -> int:
    """Return where a task stands among the ready ones.

    Args:
        priority: Lower is more urgent.
        created_ns: When the task was added.
        ageing_ns: How much older makes up for one level of priority.
    """
    return created_ns + priority * ageing_ns


def ready_tasks(sql: sqlite3.Connection, project: str, wish: Wish) -> list[Candidate]:
    """Return tasks that could be assigned, most urgent first."""
    back: list[Candidate] = []
    if wish.back_ns:
        rows = sql.execute(_BACK, (project, wish.back_ns, *wish.after))
        back = [one for one in map(_candidate, rows) if one.needs in wish.needs]
    with ExitStack() as cursors:
        found: list[Iterable[Candidate]] = [back] if back else []
        for needs in wish.needs:
            rows = sql.execute(_RANKED, (project, needs, *wish.after))
            found.append(map(_candidate, cursors.enter_context(closing(rows))))
        merged = found[0] if len(found) == 1 else heapq.merge(*found, key=_order)
        looked_at = islice(merged, _LOOKED_AT_MAX) if wish.excluded else merged
        comparison = Comparison()
        allowed = (one for one in looked_at if not _meets(one, wish.excluded, comparison))
        return list(islice(allowed, wish.limit))


def most_unblocking_first(sql: sqlite3.Connection, ready: list[Candidate]) -> list[Candidate]:
    """Return ready tasks with those of one rank in the order of how many tasks wait for them."""
    ranks = Counter(one.rank_ns for one in ready)
    equals = [one.head.number for one in ready if ranks[one.rank_ns] > 1]
    waiting = dict(sql.execute(_DEPENDENTS, (json.dumps(equals),))) if equals else {}
    return sorted(ready, key=lambda one: (one.rank_ns, -waiting.get(one.head.number, 0)))


def needs(sql: sqlite3.Connection) -> dict[int, frozenset[str]]:
    """Return the sets of capabilities that tasks require, by id."""
    rows = sql.execute("SELECT id, capabilities FROM needs")
    return {one: frozenset(capabilities.split()) for one, capabilities in rows}


def pauses(sql: sqlite3.Connection) -> dict[str, str]:
    """Return why queues give out no tasks, by project."""
    return dict(sql.execute("SELECT project, message FROM pauses").fetchall())


def is_paused(sql: sqlite3.Connection, project: str) -> bool:
    """Tell whether a queue gives out no tasks, by an operation not yet committed, too."""
    found = sql.execute("SELECT 1 FROM pauses WHERE project = ?", (project,))
    return found.fetchone() is not None


def candidates(sql: sqlite3.Connection, project: str, ids: Sequence[str]) -> dict[str, Candidate]:
    """Return those tasks that are there, whatever their state, by id."""
    query = (
        f"SELECT {_COLUMNS} FROM {TASKS}"  # noqa: S608 - names are constants, values parameters.
        " WHERE project = ? AND id IN (SELECT value FROM json_each(?))"
    )
    rows = sql.execute(query, (project, ids_json(ids)))
    return {one.head.id: one for one in map(_candidate, rows)}


_order = attrgetter("rank_ns", "head.number")


def _candidate(row: tuple[Any, ...]) -> Candidate:
    return Candidate(Head(*row[:_HEAD_FIELDS]), *row[_HEAD_FIELDS:])


def _meets(task: Candidate, globs: Sequence[str], comparison: Comparison) -> bool:
    if not globs:
        return False
    paths = pb.TaskSpec.FromString(task.spec).paths
    return any(comparison.may_meet(path, glob) for path in paths for glob in globs)
