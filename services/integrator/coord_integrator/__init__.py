"""Where work meets git: worktrees, snapshots and the merge queue."""
