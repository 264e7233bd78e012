"""The environment of an agent."""

from pathlib import Path

from coord.guard import FILE
from coord.identity import STATE, Identity
from coord.v1 import coordinator_pb2

from coord_worker.config import WorkerConfig, clean_environment
from coord_worker.folders import AttemptFolder
from coord_worker.inbox import INBOX, inbox_path
from coord_worker.processes import MARKER


def agent_environment(
    identity: Identity,
    config: WorkerConfig,
    assigned: coordinator_pb2.Assigned,
    files: AttemptFolder,
    *,
    folder: Path,
    marker: str,
) -> dict[str, str]:
    """Return the variables of an agent; those that would be empty are left out."""
    lease, worktree = assigned.lease, assigned.worktree
    given = {
        "COORD_ADDRESS": identity.address,
        "COORD_TOKEN": identity.token,
        "COORD_PROJECT": identity.project,
        "COORD_WORKER": identity.worker,
        STATE: str(config.state or ""),
        "COORD_TASK_ID": lease.spec.id,
        "COORD_TASK_TITLE": lease.spec.title,
        "COORD_ATTEMPT": str(lease.attempt.number),
        "COORD_FENCING_TOKEN": str(lease.attempt.fencing_token),
        "COORD_WORKTREE": str(folder),
        "COORD_BRANCH": worktree.branch,
        "COORD_BASE_COMMIT": worktree.base_commit,
        "COORD_PROMPT_FILE": str(files.prompt),
        "COORD_HANDOFF_FILE": str(files.handoff) if files.handoff.exists() else "",
        "COORD_PROGRESS_FILE": str(files.progress),
        "COORD_COST_FILE": str(files.cost),
        "COORD_RESULT_FILE": str(files.result),
        "COORD_BUDGET_USD": budget_usd(assigned),
        INBOX: str(inbox_path(config.folder, identity.worker)),
        MARKER: marker,
    }
    guarded = {} if config.guard is None else _guard_variables(config.guard)
    return clean_environment() | {name: value for name, value in given.items() if value} | guarded


def _guard_variables(guard: Path) -> dict[str, str]:
    """Return what puts the guard's hooks before those of the repository, for this agent alone."""
    return {
        FILE: str(guard.with_suffix(".json")),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(guard / "hooks"),
    }


def budget_usd(assigned: coordinator_pb2.Assigned) -> str:
    """Return the most that the attempt may spend, in dollars; empty where it has no cap."""
    if not assigned.HasField("budget"):
        return ""
    units, nanos = divmod(assigned.budget.nanos, 10**9)
    return f"{units}.{nanos:09}".rstrip("0").rstrip(".")
