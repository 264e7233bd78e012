"""Settings of the integrator."""

from pathlib import Path
from typing import ClassVar, Literal

from coord_runtime.config import SectionSettings


class IntegratorSettings(SectionSettings):
    """Settings of the integrator. Commands come from here alone, never from a message.

    Attributes:
        repo: The user's repository.
        target: The branch that changes are to land on; empty: the one that HEAD names.
        check: What the shell runs to test a tree; empty: nothing.
        no_check: Whether changes may land without a check.
        check_timeout_s: Longest run of the check.
        setup: What the shell runs in a new worktree before an attempt may start; empty: nothing.
        setup_timeout_s: Longest run of it.
        history: How a change lands: `merge` keeps the agent's commits below a merge commit,
            `squash` makes one commit of them.
        filters: Git's filters that Coord runs as well, separated by commas.
        poll_s: How often to look whether the user has moved the target.
        renew_s: How often the leases of waiting changes are renewed.
    """

    SECTION: ClassVar[str] = "integrator"
    repo: Path
    target: str = ""
    check: str = ""
    no_check: bool = False
    check_timeout_s: float = 600.0
    setup: str = ""
    setup_timeout_s: float = 600.0
    history: Literal["merge", "squash"] = "merge"
    filters: str = "lfs"
    poll_s: float = 2.0
    renew_s: float = 5.0
