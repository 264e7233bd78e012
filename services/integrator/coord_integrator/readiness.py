"""Whether the target stands where changes may land on it; brings it there where that can be."""

from dataclasses import replace

import structlog
from coord.v1 import common_pb2

from coord_integrator import names
from coord_integrator.endings import paths_text
from coord_integrator.merging import Merger
from coord_integrator.pauses import Pauses
from coord_integrator.repository import Repository
from coord_integrator.target import Standing, Target
from coord_integrator.verdicts import Judge, Verdict

_NO_CHECK = (
    "no check is configured, so no tree can be known to be green: set integrator.check to the"
    " command that tests the project, or integrator.no_check to land without one"
)

log = structlog.get_logger(__name__)


class Readiness:
    """Looks at the target, and pauses the merge queue where nothing may land on it."""

    def __init__(
        self,
        repository: Repository,
        merger: Merger,
        *,
        target: Target,
        judge: Judge,
        pauses: Pauses,
        may_land: bool,
    ) -> None:
        self._repository = repository
        self._merger = merger
        self._target = target
        self._judge = judge
        self._pauses = pauses
        self._may_land = may_land

    async def stand(self) -> Standing | None:
        """Return where the target stands, ready for a landing; None where nothing may land."""
        if not self._may_land:
            await self._pauses.begin("NO_CHECK", _NO_CHECK)
            return None
        standing = await self._target.read()
        if standing is None:
            await self._pauses.begin("NO_TARGET", _no_target(self._target.branch))
            return None
        if self._pauses.is_blocked(standing) or await self._is_held(standing):
            return None
        if not await self._is_sound(standing):
            return None
        await self._pauses.end()
        return replace(standing, at=standing.tip)

    async def is_green(self) -> bool:
        """Tell whether the check is known to be green on the target as it stands.

        Where it is yet to be merged with what has landed, that merge is checked by itself.
        """
        standing = await self._target.read()
        if standing is None or standing.diverged:
            return True
        return await self._judge.is_vouched_for(standing.tip)

    async def check(self) -> common_pb2.Reason | None:
        """Check the target as it stands, without any change; return why nothing lands if it is red.

        Raises:
            CoordError: UNAVAILABLE with reason DISK_FULL.
        """
        standing = await self._target.read()
        if standing is None or standing.diverged:
            return None
        verdict = await self.recheck(standing)
        if not verdict.green:
            return _red(verdict, standing, self._target.branch)
        if self._pauses.is_red:
            await self._pauses.end()
        return None

    async def recheck(self, standing: Standing) -> Verdict:
        """Judge the target alone; nothing lands while it is red."""
        verdict = await self._judge.judge(standing.tip)
        if not verdict.green:
            await self._pauses.block(standing, "TARGET_RED", verdict.message)
        return verdict

    async def _is_held(self, standing: Standing) -> bool:
        """Tell whether a checkout has the landing branch itself; a move would be under its feet."""
        holder = await self._target.holder(standing.branch)
        if holder:
            message = (
                f"{standing.branch} is checked out in {holder}: check out something else there"
            )
            await self._pauses.begin("BRANCH_CHECKED_OUT", message)
        return bool(holder)

    async def _is_sound(self, standing: Standing) -> bool:
        """Tell whether the landing branch is at the tip, and the tip is not known to be red."""
        if standing.foreign and not await self._settle_foreign(standing):
            return False
        if standing.diverged:
            await self._join(standing)
            return False
        if self._pauses.is_red and not (await self.recheck(standing)).green:
            return False
        return await self._target.follow(standing)

    async def _settle_foreign(self, standing: Standing) -> bool:
        """Keep what somebody else has put on `coord/<target>`, so that the branch may move back.

        Where no earlier landing is recorded, as in a new state folder, it may well be Coord's own:
        a green run tells.

        Returns:
            False where it is the tip from now on.
        """
        target, foreign = self._target, standing.foreign
        if not target.is_recorded:
            if (await self._judge.judge(foreign)).green:
                await target.adopt(foreign)
                return False
            await target.adopt(standing.tip)
        if standing.branch != target.branch:
            ref = await target.keep_foreign(foreign)
            log.warning("what nobody has checked is taken off the landing branch", kept=ref)
        return True

    async def _join(self, standing: Standing) -> None:
        """Merge what the user has committed to the target into what has landed, checked."""
        branch = self._target.branch
        labels = (f"coord/{branch}", branch)
        merge = await self._merger.merge(standing.tip, standing.target, labels)
        if merge.conflicts:
            message = f"{branch} has commits that conflict with what has landed: "
            await self._pauses.block(standing, "TARGET_CONFLICT", message + paths_text(merge))
            return
        parents = (standing.tip, standing.target)
        commit = await self._merger.commit(merge.tree, parents, f"Merge branch '{branch}'\n")
        verdict = await self._judge.judge(commit)
        if not verdict.green:
            message = f"merged with what has landed, {branch} is red: {verdict.message}"
            await self._pauses.block(standing, "TARGET_RED", message)
            return
        await self._repository.hand_over(commit, names.LANDING)
        source = standing.at or None
        await self._target.move(standing.branch, commit, source, f"follow {branch}")


def _no_target(branch: str) -> str:
    return f"the repository has no branch {branch!r}: make it, or set integrator.target"


def _red(verdict: Verdict, standing: Standing, target: str) -> common_pb2.Reason:
    branch = target if standing.tip == standing.target else standing.branch
    where = {"branch": branch, "commit": standing.tip}
    return common_pb2.Reason(code="TARGET_RED", message=verdict.message, metadata=where)
