"""What the integrator remembers, as whole operations."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from coord.v1 import common_pb2, integrator_pb2, queue_pb2

from coord_integrator.worktrees import Place

Report = queue_pb2.Completion | queue_pb2.Failure

UNFINISHED = (
    integrator_pb2.CHANGE_STATE_QUEUED,
    integrator_pb2.CHANGE_STATE_CHECKING,
    integrator_pb2.CHANGE_STATE_LANDING,
)


@dataclass(frozen=True)
class WorktreeRow:
    """A worker's worktree.

    Attributes:
        worker: Whose it is.
        fence: The newest attempt that has asked for it; older ones are refused.
        fence_task: The task of that attempt.
        ready: Whether it is on that attempt's branch. If not, it still holds what `token` left.
        token: The attempt that it served last.
        branch: The branch of that attempt, without `refs/heads/`.
        base: The commit that the branch started from.
        set_up: Whether the set-up command has succeeded in it.
        removed: Whether it was removed.
        said_to_have_ended: Whether its attempt is to end, or has ended, without a change.
        ended: Whether it has: the queue says so, too.
    """

    worker: str
    fence: int
    fence_task: str
    ready: bool = False
    token: int = 0
    branch: str = ""
    base: str = ""
    set_up: bool = False
    removed: bool = False
    said_to_have_ended: bool = False
    ended: bool = False

    @property
    def place(self) -> Place:
        """What its files are known by."""
        task = self.fence_task if self.ready else ""
        return Place(self.worker, self.token, self.branch, self.base, task)


@dataclass(frozen=True)
class ChangeRow:
    """A change, and what only the integrator needs to know of it.

    Attributes:
        change: The change without its runs.
        title: One line for the landing commit.
        cost: What was spent on the attempt; unset where nothing was said.
        target: The branch that it is to land on; empty where it is of a time when that was not
            recorded.
        handed_over: Whether the queue has moved its lease to the integrator.
        landing_branch: The branch that its landing moves, once it is LANDING.
        landing_from: Where that branch was; empty where it was not there.
        landing_to: Where it goes: the commit of the last of the changes that land together.
    """

    change: integrator_pb2.Change
    title: str
    cost: common_pb2.Money
    target: str = ""
    handed_over: bool = False
    landing_branch: str = ""
    landing_from: str = ""
    landing_to: str = ""

    @property
    def end(self) -> str:
        """The commit that its landing moves the branch to."""
        # One that was LANDING before changes landed together lands by its own commit.
        return self.landing_to or self.change.landed_commit


@dataclass(frozen=True)
class Move:
    """A change's step to another state.

    Attributes:
        state: The state.
        message: For people: why.
        detail: What the next attempt should know.
        landed_commit: The commit that lands it.
        landing_branch: See `ChangeRow`.
        landing_from: See `ChangeRow`.
        landing_to: See `ChangeRow`.
        report: What the queue is to be told. It goes out until the queue has answered.
    """

    state: integrator_pb2.ChangeState
    message: str = ""
    detail: str = ""
    landed_commit: str = ""
    landing_branch: str = ""
    landing_from: str = ""
    landing_to: str = ""
    report: Report | None = None


@dataclass(frozen=True)
class CheckoutMove:
    """The user's checkout on its way from one commit to a newer one.

    Attributes:
        path: Its top folder.
        branch: The branch that it has checked out, without `refs/heads/`.
        old: Where it was.
        new: Where it goes.
    """

    path: str
    branch: str
    old: str
    new: str


@dataclass(frozen=True)
class LandingTip:
    """Where Coord has put `coord/<target>`.

    Attributes:
        at: The commit; empty where it has put it nowhere yet.
        to: Where it is about to put it; empty for nowhere.
    """

    at: str
    to: str = ""


class RunStore(Protocol):
    """The runs of the check, and what they vouch for."""

    def runs(self, change_id: str) -> list[integrator_pb2.CheckRun]:
        """Return the runs with a change, oldest first."""

    def target_runs(
        self, *, before: int | None, limit: int
    ) -> list[tuple[int, integrator_pb2.CheckRun]]:
        """Return runs on the target alone with their numbers, newest first.

        Args:
            before: Only runs with a smaller number; None for all.
            limit: The most to return.
        """

    async def add_run(self, run: integrator_pb2.CheckRun, environment: str) -> bool:
        """Record a run of the check; tell whether it is the first to show that its tree is flaky.

        A green one vouches for its tree, command and environment from then on.
        """

    def is_green(self, tree: str, command: str, environment: str) -> bool:
        """Tell whether the check has been green on a tree."""

    def run_counts(self) -> tuple[int, int]:
        """Return how many runs there were, and how many trees were red and green."""

    def flakes(self, limit: int) -> list[integrator_pb2.Flake]:
        """Return the newest flakes, newest first."""


class IntegratorStore(RunStore, Protocol):
    """The integrator's state.

    What is written is on disk when the call returns, and told in an event. Reads are of the last
    committed state.
    """

    async def claim_worktree(self, worker: str, attempt: common_pb2.AttemptRef) -> WorktreeRow:
        """Make an attempt the one that a worktree is to serve.

        Raises:
            CoordError: FAILED_PRECONDITION with reason STALE_TOKEN where a later one has it.
        """

    async def worktree_kept(self, worker: str, snapshot: integrator_pb2.Snapshot) -> None:
        """Tell that what was in a worktree was kept."""

    async def worktree_ready(self, row: WorktreeRow, worktree: integrator_pb2.Worktree) -> None:
        """Record that a worktree serves its attempt."""

    async def worktree_said_to_have_ended(self, worker: str, token: int) -> None:
        """Record that an attempt is to end without a change, if a worktree still serves it."""

    async def worktree_ended(self, worker: str, token: int) -> None:
        """Record that an attempt has ended without a change, if a worktree still serves it."""

    async def worktree_removed(self, worker: str) -> None:
        """Record that a worktree was removed; its fence stays."""

    def worktree(self, worker: str) -> WorktreeRow | None:
        """Return a worker's worktree; None where it never had one."""

    def worktrees(self) -> list[WorktreeRow]:
        """Return the worktrees that were not removed, by worker."""

    async def add_change(self, row: ChangeRow) -> ChangeRow:
        """Record a change that is there for the first time; return the one that is stored."""

    async def hand_over_change(self, change_id: str, category: str, priority: int) -> None:
        """Record that the queue has moved the change's lease here, and what its task is."""

    async def reprioritize_change(
        self, change_id: str, priority: int | None, *, urgent: bool | None
    ) -> ChangeRow | None:
        """Set when a change that is QUEUED or CHECKING is served; None where there is none such.

        Args:
            change_id: The change.
            priority: Its priority; None: as it is.
            urgent: Whether it is urgent; None: as it is.
        """

    async def move_change(
        self,
        change_id: str,
        sources: Collection[integrator_pb2.ChangeState],
        move: Move,
    ) -> ChangeRow | None:
        """Move a change, if it is in one of `sources`; None where it is not."""

    async def move_changes(
        self, moves: Mapping[str, Move], sources: Collection[integrator_pb2.ChangeState]
    ) -> list[ChangeRow]:
        """Move changes by id, all at once; none of them unless all are in one of `sources`."""

    def change(self, change_id: str) -> ChangeRow | None:
        """Return a change."""

    def endings(self, limit: int) -> list[tuple[str, bool]]:
        """Return the newest changes that have landed, or were rejected for a red check.

        Returns:
            The category of each task and whether it was rejected, oldest first, at most `limit`.
        """

    def list_changes(
        self,
        states: Collection[integrator_pb2.ChangeState],
        *,
        after: int = 0,
        limit: int = -1,
    ) -> list[tuple[int, ChangeRow]]:
        """Return changes in one of `states` (none: all) with their numbers, oldest first.

        Args:
            states: The states.
            after: Only changes with a larger number.
            limit: The most to return; negative: all.
        """

    def reports(self) -> list[tuple[int, Report]]:
        """Return what the queue has not answered yet, oldest first, by number."""

    async def drop_reports(self, numbers: Sequence[int]) -> None:
        """Forget what the queue has answered."""

    async def pause(self, reason: common_pb2.Reason | None) -> bool:
        """Record why nothing lands, or that it does; tell whether that is new."""

    def paused(self) -> common_pb2.Reason | None:
        """Return why nothing lands; None where it does."""

    async def put_landing_tip(self, branch: str, tip: LandingTip) -> None:
        """Record where a landing branch is, and where it goes."""

    def landing_tip(self, branch: str) -> LandingTip | None:
        """Return where Coord has put a landing branch; None where it never has."""

    async def begin_checkout_move(self, move: CheckoutMove) -> None:
        """Record that a checkout is about to be moved."""

    async def end_checkout_move(self) -> None:
        """Record that no checkout is on its way."""

    def checkout_move(self) -> CheckoutMove | None:
        """Return the move that a crash may have cut off."""

    def watch(self, after: int) -> AsyncIterator[list[integrator_pb2.IntegratorEvent]]:
        """Yield the events after a number, and new ones as they come."""

    async def close(self) -> None:
        """Close the store."""
