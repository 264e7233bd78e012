"""Lands changes: moves the branch along the commits that were tested, and tells what came of it.

Changes that were tested together land together. They are recorded as LANDING at once, with the
commit that the branch is to go to; after a crash that commit, and where the branch is, tell what is
left to do.
"""

from collections import defaultdict
from collections.abc import Sequence

import structlog
from coord.times import SECOND, timestamp_ns
from coord.v1 import queue_pb2

from coord_integrator import names
from coord_integrator.checkout import CheckoutFollower
from coord_integrator.endings import LANDED, LANDING, WAITING, Endings
from coord_integrator.git import GitError
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.store import ChangeRow, IntegratorStore, Move
from coord_integrator.target import Standing, Target

_FLAKY = "the check was red and then green on the same tree: it is flaky"

log = structlog.get_logger(__name__)


class Lander:
    """Lands changes whose merged tree is green."""

    def __init__(
        self,
        repository: Repository,
        store: IntegratorStore,
        *,
        target: Target,
        queue: QueueLink,
        checkout: CheckoutFollower,
        pauses: Pauses,
        endings: Endings,
        metrics: IntegratorMetrics,
    ) -> None:
        self._repository = repository
        self._store = store
        self._target = target
        self._queue = queue
        self._checkout = checkout
        self._pauses = pauses
        self._endings = endings
        self._metrics = metrics

    async def land(
        self, rows: Sequence[ChangeRow], commits: Sequence[str], standing: Standing
    ) -> bool:
        """Land changes that were tested together; False where that could not be.

        Args:
            rows: The changes, in the order in which they were merged.
            commits: The commit of each; the last one's tree is the one that was tested.
            standing: Where the target stands.
        """
        moves = {
            row.change.change_id: Move(
                LANDING,
                message=self._note(row),
                landed_commit=commit,
                landing_branch=standing.branch,
                landing_from=standing.at,
                landing_to=commits[-1],
            )
            for row, commit in zip(rows, commits, strict=True)
        }
        moved = await self._endings.move(moves, WAITING)
        return bool(moved) and await self._finish(moved)

    async def finish_rest(self) -> None:
        """Finish, or take back, the landings that a crash has cut off."""
        begun: defaultdict[str, list[ChangeRow]] = defaultdict(list)
        for _, row in self._store.list_changes((LANDING,)):
            begun[row.end].append(row)
        for rows in begun.values():
            await self._finish(rows)

    async def bring_along(self) -> None:
        """Bring the user's checkout to what has landed, where that can be done cleanly."""
        standing = await self._target.read()
        if standing is None:
            return
        try:
            await self._checkout.follow(standing)
        except GitError as error:
            log.warning("checkout was not brought along", why=str(error))

    async def _finish(self, rows: Sequence[ChangeRow]) -> bool:
        """Move the branch, unless that was done before a crash, and say so."""
        if not await self._has_landed(rows[0].end) and not await self._move_branch(rows):
            return False
        landed = await self._endings.move(
            {row.change.change_id: _landed(row) for row in rows}, (LANDING,)
        )
        for row in landed:
            self._metrics.landings.inc()
            self._metrics.landing_seconds.observe(_waited_s(row))
        await self.bring_along()
        return True

    async def _has_landed(self, commit: str) -> bool:
        standing = await self._target.read()
        if standing is None:
            return False
        return await self._repository.is_ancestor(commit, standing.tip)

    async def _move_branch(self, rows: Sequence[ChangeRow]) -> bool:
        """Move the branch; the changes go back or end where that must not be.

        The leases are asked for last, when nothing but the move itself is left to do: a task that
        is cancelled until then does not land.
        """
        branch, commit = rows[0].landing_branch, rows[0].end
        await self._repository.hand_over(commit, names.LANDING)
        moved = False
        if not self._pauses.is_held and not await self._target.holder(branch):
            async with self._target.about_to_move(branch, commit):
                if await self._end_stale(rows):
                    return False
                source, why = rows[0].landing_from or None, f"land {_ids(rows)}"
                moved = await self._repository.move_branch(branch, commit, source, why)
        if not moved:
            why = "merging is paused" if self._pauses.is_held else "the target has moved on"
            await self._endings.queue_again(rows, why)
        return moved

    async def _end_stale(self, rows: Sequence[ChangeRow]) -> bool:
        """End the changes whose lease is gone, and let the others wait; False where none is."""
        directives = await self._queue.renew([row.change.attempt for row in rows])
        pairs = list(zip(rows, directives, strict=True))
        going_on = queue_pb2.LEASE_DIRECTIVE_CONTINUE
        gone = [pair for pair in pairs if pair[1] != going_on]
        for row, directive in gone:
            await self._endings.stale(row, directive, (LANDING,))
        if gone:
            kept = [row for row, directive in pairs if directive == going_on]
            await self._endings.queue_again(kept, "it was tested with a change that has gone")
        return bool(gone)

    def _note(self, row: ChangeRow) -> str:
        runs = self._store.runs(row.change.change_id)
        greens = {run.tree for run in runs if run.passed}
        return _FLAKY if any(run.tree in greens for run in runs if not run.passed) else ""


def _landed(row: ChangeRow) -> Move:
    change = row.change
    message = f"landed on {row.landing_branch}" + (change.message and f"; {change.message}")
    report = queue_pb2.Completion(attempt=change.attempt, message=message)
    return Move(LANDED, message, landed_commit=change.landed_commit, report=report)


def _ids(rows: Sequence[ChangeRow]) -> str:
    first, *others = (row.change.change_id for row in rows)
    return f"{first} and {len(others)} more" if others else first


def _waited_s(row: ChangeRow) -> float:
    change = row.change
    return (timestamp_ns(change.changed_at) - timestamp_ns(change.submitted_at)) / SECOND
