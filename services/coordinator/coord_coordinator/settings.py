"""Settings of the coordinator."""

from typing import ClassVar, Literal

from coord_runtime.config import SectionSettings


class CoordinatorSettings(SectionSettings):
    """Settings of the coordinator.

    Attributes:
        strategy: Who gets a task: `round_robin`, `capability` or `work_stealing`.
        repository: Whether tasks are work on a repository, so that each attempt has a worktree.
        heartbeat_s: How often a worker is to say that it is alive.
        grace_s: After how long a silence it counts as lost.
        renew_s: How often the leases of live workers are renewed.
        account: The account that costs count for beside the project; empty for none.
    """

    SECTION: ClassVar[str] = "coordinator"
    strategy: Literal["capability", "round_robin", "work_stealing"] = "capability"
    repository: bool = True
    heartbeat_s: float = 5.0
    grace_s: float = 15.0
    renew_s: float = 5.0
    account: str = ""
