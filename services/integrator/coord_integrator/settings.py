"""Settings of the integrator."""

from pathlib import Path
from typing import ClassVar, Literal

from coord_runtime.config import SectionSettings
from pydantic import Field

# Lock files of the usual package managers, and what tells the usual services how to check.
_BARRIERS = (
    "Cargo.lock",
    "Gemfile.lock",
    "composer.lock",
    "go.sum",
    "package-lock.json",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
    "/.circleci/**",
    "/.github/workflows/**",
    "/.gitlab-ci.yml",
)


class IntegratorSettings(SectionSettings):
    """Settings of the integrator. Commands come from here alone, never from a message.

    Attributes:
        repo: The user's repository.
        target: The branch that changes are to land on; empty: the one that HEAD names.
        check: What the shell runs to test a tree; empty: nothing.
        no_check: Whether changes may land without a check.
        check_slots: How many runs of the check may be under way at once.
        check_timeout_s: Longest run of the check.
        setup: What the shell runs in a new worktree before an attempt may start; empty: nothing.
        setup_timeout_s: Longest run of it.
        history: How a change lands: `merge` keeps the agent's commits below a merge commit,
            `squash` makes one commit of them, `rebase` makes each anew on the target.
        barriers: Globs, separated by commas: a change that touches such a file lands by itself.
        ageing_s: How much older makes up for one level of priority: 1 to 3,600.
        filters: Git's filters that Coord runs as well, separated by commas.
        reap_after_s: How long a worktree may lie idle after its change has ended before it is
            removed; 0 for ever.
        poll_s: How often to look whether the user has moved the target.
        renew_s: How often the leases of waiting changes are renewed.
    """

    SECTION: ClassVar[str] = "integrator"
    repo: Path
    target: str = ""
    check: str = ""
    no_check: bool = False
    check_slots: int = Field(default=2, ge=1, le=64)
    check_timeout_s: float = 600.0
    setup: str = ""
    setup_timeout_s: float = 600.0
    history: Literal["merge", "rebase", "squash"] = "merge"
    barriers: str = ",".join(_BARRIERS)
    ageing_s: float = Field(default=60.0, ge=1, le=3_600)
    filters: str = "lfs"
    reap_after_s: float = Field(default=86_400.0, ge=0)
    poll_s: float = 2.0
    renew_s: float = 5.0
