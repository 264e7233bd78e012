"""The handlers about conflicts and snapshots."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

from coord.v1 import integrator_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import check_attempt, check_worker, invalid_field

from coord_integrator import names
from coord_integrator.attempts import Attempts
from coord_integrator.radar import Radar

T = TypeVar("T")


class RadarCalls(ABC):
    """Answers what the radar knows."""

    def __init__(self, radar: Radar, attempts: Attempts) -> None:
        self._radar = radar
        self._attempts = attempts

    async def check_conflicts(
        self, request: pb.CheckConflictsRequest, call: Call
    ) -> pb.CheckConflictsResponse:
        """Compare a worker's worktree with the target and all others."""
        del call
        check_worker("worker", request.worker)
        return await self._to_its_end(self._radar.check(request.worker))

    async def get_conflict_matrix(
        self, request: pb.GetConflictMatrixRequest, call: Call
    ) -> pb.GetConflictMatrixResponse:
        """Tell which worktrees conflict."""
        del call
        if request.worker:
            check_worker("worker", request.worker)
        return await self._to_its_end(self._radar.matrix(request.worker))

    async def restore_snapshot(
        self, request: pb.RestoreSnapshotRequest, call: Call
    ) -> pb.RestoreSnapshotResponse:
        """Put what a snapshot holds into a worktree."""
        del call
        check_worker("worker", request.worker)
        check_attempt("attempt", request.attempt)
        if not request.ref.startswith(f"{names.WIP}/") or request.ref.endswith(names.LEFT):
            raise invalid_field("ref", f"a ref of a snapshot begins with {names.WIP}/")
        restoring = self._attempts.restore(request.worker, request.attempt, request.ref)
        return await self._to_its_end(restoring)

    @abstractmethod
    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that is not undone when its caller goes away."""
