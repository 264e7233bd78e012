"""The tables of the integrator's store in SQLite."""

MIGRATIONS = [
    """
    CREATE TABLE worktrees (
        project TEXT NOT NULL,
        worker TEXT NOT NULL,
        fence INTEGER NOT NULL,
        fence_task TEXT NOT NULL,
        ready INTEGER NOT NULL,
        token INTEGER NOT NULL,
        branch TEXT NOT NULL,
        base TEXT NOT NULL,
        set_up INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        PRIMARY KEY (project, worker)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        change_id TEXT NOT NULL,
        state INTEGER NOT NULL,
        body BLOB NOT NULL,
        title TEXT NOT NULL,
        cost BLOB NOT NULL,
        handed_over INTEGER NOT NULL DEFAULT 0,
        landing_branch TEXT NOT NULL DEFAULT '',
        landing_from TEXT NOT NULL DEFAULT '',
        UNIQUE (project, change_id)
    ) STRICT;
    CREATE INDEX changes_by_state ON changes (project, state, number);
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        change_id TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX runs_by_change ON runs (project, change_id, number);
    CREATE TABLE greens (
        project TEXT NOT NULL,
        tree TEXT NOT NULL,
        command TEXT NOT NULL,
        PRIMARY KEY (project, tree, command)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reports (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        kind TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE pauses (
        project TEXT PRIMARY KEY,
        reason BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE checkout_moves (
        project TEXT PRIMARY KEY,
        path TEXT NOT NULL,
        branch TEXT NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE landing_tips (
        project TEXT NOT NULL,
        branch TEXT NOT NULL,
        "at" TEXT NOT NULL,
        "to" TEXT NOT NULL,
        PRIMARY KEY (project, branch)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE runs ADD COLUMN of_target INTEGER NOT NULL DEFAULT 0;
    UPDATE runs SET of_target = 1 WHERE change_id = '';
    CREATE INDEX runs_of_target ON runs (project, number) WHERE of_target;
    """,
    """
    ALTER TABLE changes ADD COLUMN landing_to TEXT NOT NULL DEFAULT '';
    CREATE TABLE run_changes (
        project TEXT NOT NULL,
        change_id TEXT NOT NULL,
        run INTEGER NOT NULL,
        PRIMARY KEY (project, change_id, run)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO run_changes SELECT project, change_id, number FROM runs WHERE change_id != '';
    DROP INDEX runs_by_change;
    ALTER TABLE runs DROP COLUMN change_id;
    ALTER TABLE runs ADD COLUMN tree TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN command TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN passed INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX runs_by_tree ON runs (project, tree, command, passed) WHERE tree != '';
    DROP TABLE greens;
    CREATE TABLE greens (
        project TEXT NOT NULL,
        tree TEXT NOT NULL,
        command TEXT NOT NULL,
        environment TEXT NOT NULL,
        PRIMARY KEY (project, tree, command, environment)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE flakes (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        tree TEXT NOT NULL,
        command TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (project, tree, command)
    ) STRICT;
    CREATE TABLE endings (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        category TEXT NOT NULL,
        failed INTEGER NOT NULL
    ) STRICT;
    """,
    """
    -- `other` is empty for the target.
    CREATE TABLE conflicts (
        project TEXT NOT NULL,
        worker TEXT NOT NULL,
        other TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (project, worker, other)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE branches (
        project TEXT NOT NULL,
        branch TEXT NOT NULL,
        worker TEXT NOT NULL,
        base TEXT NOT NULL,
        PRIMARY KEY (project, branch)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO branches SELECT project, branch, worker, base FROM worktrees WHERE branch != '';
    """,
    "ALTER TABLE worktrees ADD COLUMN ended INTEGER NOT NULL DEFAULT 0",
    """
    ALTER TABLE worktrees RENAME COLUMN ended TO said_to_have_ended;
    ALTER TABLE worktrees ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE changes ADD COLUMN target TEXT NOT NULL DEFAULT '';
    """,
]
