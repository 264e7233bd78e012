"""The worker program: runs agents in worktrees."""
