"""The tables of the embedded store."""

from dataclasses import dataclass

from coord.v1 import queue_pb2 as pb

LIVE = frozenset({pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING, pb.TASK_STATE_MERGING})
UNSUCCESSFUL = frozenset({pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELLED, pb.TASK_STATE_ABORTED})
ENDED = UNSUCCESSFUL | {pb.TASK_STATE_COMPLETE}

# Later than any time.
NEVER_NS = 2**63

# What tasks must fulfil that could be assigned if their backoff, if any, were over; and those that
# have one, or none. In these words: SQLite uses a partial index only where a query repeats its own.
FREE = f"state = {pb.TASK_STATE_PENDING} AND deps_left = 0"
RANKED = f"{FREE} AND not_before_ns = 0"
IN_BACKOFF = f"{FREE} AND not_before_ns > 0"
# Those that have a backoff, whatever else they wait for.
BACKED_OFF = f"state = {pb.TASK_STATE_PENDING} AND not_before_ns > 0"

MIGRATIONS = (
    f"""
    -- `number` is the order of adding, `position` a topological one.
    -- From `attempt` to `progress`: the newest attempt, while it lives and after a success.
    CREATE TABLE tasks (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        state INTEGER NOT NULL,
        needs INTEGER NOT NULL,
        rank_ns INTEGER NOT NULL,
        deps_left INTEGER NOT NULL,
        attempts_used INTEGER NOT NULL DEFAULT 0,
        workers_lost INTEGER NOT NULL DEFAULT 0,
        not_before_ns INTEGER NOT NULL DEFAULT 0,
        created_ns INTEGER NOT NULL,
        ready_ns INTEGER NOT NULL,
        changed_ns INTEGER NOT NULL,
        reason INTEGER NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '',
        attempt INTEGER NOT NULL DEFAULT 0,
        token INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT '',
        assigned_ns INTEGER NOT NULL DEFAULT 0,
        started_ns INTEGER NOT NULL DEFAULT 0,
        submitted_ns INTEGER NOT NULL DEFAULT 0,
        progress BLOB NOT NULL DEFAULT x'',
        UNIQUE (project, id)
    ) STRICT;
    -- What was added, apart from what changes all the time; the dependencies that came later are in
    -- `more_deps`, separated by blanks.
    CREATE TABLE specs (
        task INTEGER PRIMARY KEY,
        spec BLOB NOT NULL,
        more_deps TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX tasks_by_position ON tasks (project, position);
    CREATE INDEX tasks_ready ON tasks (project, needs, rank_ns, number, ready_ns)
        WHERE {RANKED};
    CREATE INDEX tasks_in_backoff ON tasks (project, not_before_ns)
        WHERE {IN_BACKOFF};
    -- Which tasks wait for a task.
    CREATE TABLE dependents (
        dep INTEGER NOT NULL,
        task INTEGER NOT NULL,
        PRIMARY KEY (dep, task)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX dependents_by_task ON dependents (task);
    -- Attempts that have ended without success.
    CREATE TABLE attempts (
        token INTEGER PRIMARY KEY,
        task INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        worker TEXT NOT NULL,
        assigned_ns INTEGER NOT NULL,
        started_ns INTEGER NOT NULL,
        submitted_ns INTEGER NOT NULL,
        ended_ns INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        message TEXT NOT NULL,
        detail TEXT NOT NULL,
        progress BLOB NOT NULL
    ) STRICT;
    CREATE INDEX attempts_by_task ON attempts (task, attempt);
    -- The sets of capabilities that tasks require, sorted and separated by blanks.
    CREATE TABLE needs (
        id INTEGER PRIMARY KEY,
        capabilities TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE pauses (
        project TEXT PRIMARY KEY,
        message TEXT NOT NULL
    ) STRICT;
    -- No fencing token above it was given.
    CREATE TABLE tokens (newest INTEGER NOT NULL) STRICT;
    INSERT INTO tokens VALUES (0);
    """,  # noqa: S608 - a constant.
    f"""
    DROP INDEX tasks_in_backoff;
    CREATE INDEX tasks_backed_off ON tasks (project, not_before_ns) WHERE {BACKED_OFF};
    """,
)


@dataclass(slots=True)
class Head:
    """What a move of a task needs to know, in the order of HEAD_COLUMNS."""

    number: int
    id: str
    state: pb.TaskState
    token: int
    worker: str
    deps_left: int
    attempts_used: int
    workers_lost: int


HEAD_COLUMNS = ", ".join(Head.__slots__)
