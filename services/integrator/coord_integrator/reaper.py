"""Removes what no attempt needs any more, and only what has landed or is kept."""

import structlog
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import SECOND

from coord_integrator.attempts import Attempts
from coord_integrator.branch_table import BranchTable
from coord_integrator.settings import IntegratorSettings

_EVERY_S = 60.0

log = structlog.get_logger(__name__)


class Reaper:
    """Finds worktrees that lie idle, and branches that have landed since they were left."""

    def __init__(
        self,
        attempts: Attempts,
        branches: BranchTable,
        settings: IntegratorSettings,
        environment: Environment,
    ) -> None:
        self._attempts = attempts
        self._branches = branches
        self._idle_ns = round(settings.reap_after_s * SECOND)
        self._environment = environment

    async def step(self) -> float:
        """Remove what can go; return after how many seconds to look again."""
        try:
            await self._reap_worktrees()
            await self._reap_branches()
        except CoordError as error:
            log.warning("not all that is left could be removed", why=str(error))
        return _EVERY_S

    async def _reap_worktrees(self) -> None:
        if not self._idle_ns:
            return
        before_ns = self._environment.now_ns() - self._idle_ns
        for row in self._attempts.rows():
            if await self._attempts.remove_idle(row, before_ns):
                log.info("an idle worktree was removed", worker=row.worker)

    async def _reap_branches(self) -> None:
        used = {row.branch for row in self._attempts.rows()}
        for own in self._branches.all():
            if own.branch not in used:
                await self._attempts.drop_left(own)
