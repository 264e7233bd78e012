"""Whether what is in a worktree would conflict with the target and with other worktrees."""

import asyncio

from coord.errors import CoordError, not_found
from coord.v1 import integrator_pb2

from coord_integrator.attempts import Attempts
from coord_integrator.merging import Merger, clip
from coord_integrator.repository import Repository
from coord_integrator.store import IntegratorStore, WorktreeRow

_PATHS_MAX = 100
_HUNKS_BYTES_MAX = 16 * 2**10


class Conflicts:
    """Compares worktrees, as git would merge them."""

    def __init__(self, repository: Repository, attempts: Attempts, store: IntegratorStore) -> None:
        self._attempts = attempts
        self._store = store
        self._merger = Merger(repository, "conflict-attributes")
        # The merger's attributes are those of one commit at a time.
        self._lock = asyncio.Lock()

    async def check(self, worker: str) -> integrator_pb2.CheckConflictsResponse:
        """Compare a worktree with the target and all others; see CheckConflicts."""
        row = self._store.worktree(worker)
        if row is None or row.removed:
            raise not_found("WORKTREE_NOT_FOUND", f"worker {worker} has no worktree")
        attempt = self._attempts.worktree(row).attempt
        found = integrator_pb2.CheckConflictsResponse(attempt=attempt)
        mine = await self._attempts.snapshot(worker)
        if mine is None:
            return found
        async with self._lock:
            target = await self._conflict(mine.commit, await self._attempts.tip(), None)
            found.conflicts.extend([target] if target else [])
            for other in self._others(worker):
                theirs = await self._content(other.worker)
                conflict = theirs and await self._conflict(mine.commit, theirs, other)
                found.conflicts.extend([conflict] if conflict else [])
        return found

    def _others(self, worker: str) -> list[WorktreeRow]:
        rows = self._store.worktrees()
        return [row for row in rows if row.worker != worker and row.ready and not row.removed]

    async def _content(self, worker: str) -> str:
        """Return a commit of what is in another worktree; empty where it changes nothing."""
        try:
            snapshot = await self._attempts.snapshot(worker)
        except CoordError:  # It went meanwhile, or cannot be read.
            return ""
        return snapshot.commit if snapshot else ""

    async def _conflict(
        self, mine: str, theirs: str, other: WorktreeRow | None
    ) -> integrator_pb2.WorktreeConflict | None:
        name = other.worker if other else ""
        merge = await self._merger.merge(theirs, mine, (name or "the target", "yours"))
        if not merge.conflicts:
            return None
        return integrator_pb2.WorktreeConflict(
            worker=name,
            attempt=self._attempts.worktree(other).attempt if other else None,
            paths=merge.conflicts[:_PATHS_MAX],
            hunks=clip(merge.detail, _HUNKS_BYTES_MAX),
        )
