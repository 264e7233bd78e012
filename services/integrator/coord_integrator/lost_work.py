"""Sees to changes whose work Coord's own repository has lost, so that they stop no others."""

import structlog

from coord_integrator.endings import LANDING, Endings
from coord_integrator.git import GitError
from coord_integrator.repository import Repository
from coord_integrator.store import UNFINISHED, ChangeRow, IntegratorStore
from coord_integrator.target import Target

log = structlog.get_logger(__name__)


class LostWork:
    """Looks for what changes are made of, once for each change.

    What is gone is fetched from the user's repository, where it is kept, too. A change whose work
    is in neither is given back to its task.
    """

    def __init__(
        self, repository: Repository, store: IntegratorStore, target: Target, endings: Endings
    ) -> None:
        self._repository = repository
        self._store = store
        self._target = target
        self._endings = endings
        self._seen: set[str] = set()

    async def see_to(self) -> None:
        """Look at the changes that were not looked at before."""
        rows = {row.change.change_id: row for _, row in self._store.list_changes(UNFINISHED)}
        new = [row for change_id, row in rows.items() if change_id not in self._seen]
        standing = (self._target.seen or await self._target.read()) if new else None
        if standing is None:
            return
        for row in new:
            await self._see_to(row, standing.tip)
        self._seen = set(rows)

    async def _see_to(self, row: ChangeRow, tip: str) -> None:
        change = row.change
        if change.state == LANDING and not await self._repository.holds(row.end, tip):
            await self._endings.queue_again([row], "what was to land is gone: it is merged anew")
        if await self._repository.holds(change.head_commit, tip):
            return
        try:
            await self._repository.bring(change.head_commit, change.wip_ref)
        except GitError as error:
            log.warning("lost work cannot be fetched", ref=change.wip_ref, why=str(error))
            commit = change.head_commit[:10]
            message = f"its work, commit {commit}, is gone from Coord's repository and from yours"
            await self._endings.lost(row, message)
        else:
            log.warning("lost work was fetched from the user's repository", ref=change.wip_ref)
