"""Conflicts between worktrees: told to the workers that have them, and heeded by dispatch."""

import asyncio
from collections.abc import Collection, Iterable, Iterator

import structlog
from coord.errors import CoordError
from coord.v1 import claims_pb2, common_pb2, integrator_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.globs import Comparison

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.resources import common
from coord_coordinator.services import Services
from coord_coordinator.workers import Worker, WorkerAttempt

_SWEEP_S = 30.0
# All of a message's hunks: it is stored for as long as it is not acknowledged.
_HUNKS_BYTES_MAX = 64 * 2**10

log = structlog.get_logger(__name__)

Told = tuple[tuple[object, ...], ...]


class Conflicts:
    """Tells workers what the integrator's radar sees of their worktrees."""

    def __init__(
        self, fleet: Fleet, services: Services, claims: Claims, *, has_repository: bool
    ) -> None:
        claims.obstacles.append(self.obstacle)
        self._has_repository = has_repository
        self._fleet = fleet
        self._services = services
        self._live: list[integrator_pb2.LiveConflict] = []
        self._told: dict[int, Told] = {}

    async def run(self) -> None:
        """Tell of conflicts as they come and go, until cancelled."""
        if self._has_repository:
            await asyncio.gather(self._follow(), self._sweep())

    def obstacle(self, claim: claims_pb2.Claim, comparison: Comparison) -> common_pb2.Reason | None:
        """Return the conflict that is going on about what a task declares; None without one."""
        for conflict in self._live:
            if not self._is_fought_out(conflict):
                continue
            paths = [claims_pb2.Resource(path=f"/{path}") for path in conflict.other.paths]
            met = common(claims_pb2.Claim(resources=paths), claim, comparison)
            if met is not None:
                sides = f"{conflict.worker} and {conflict.other.worker}"
                message = f"{sides} conflict in {met.path[1:]}"
                return common_pb2.Reason(code="CONFLICT", message=message)
        return None

    async def _follow(self) -> None:
        request = integrator_pb2.WatchIntegratorEventsRequest(project=self._fleet.project, after=-1)
        watch = self._services.integrator.WatchIntegratorEvents
        async for event in self._services.follow(watch, request):
            if event.WhichOneof("kind") == "conflict_changed":
                conflict = event.conflict_changed.conflict
                await self._look({conflict.worker, conflict.other.worker})

    async def _sweep(self) -> None:
        """Make good for events that were missed."""
        while True:
            await self._look(set(self._fleet.workers))
            await asyncio.sleep(_SWEEP_S)

    async def _look(self, workers: Collection[str]) -> None:
        request = integrator_pb2.GetConflictMatrixRequest(project=self._fleet.project)
        try:
            found = await self._services.ask(self._services.integrator.GetConflictMatrix, request)
            self._live = list(found.conflicts)
            await self._tell(workers)
        except CoordError as error:
            log.warning("conflicts are not known", error=str(error))
        self._fleet.changed.wake()

    async def _tell(self, workers: Collection[str]) -> None:
        live = {token for one in self._fleet.workers.values() for token in one.attempts}
        self._told = {token: told for token, told in self._told.items() if token in live}
        for name in sorted(workers):
            worker = self._fleet.workers.get(name)
            if worker is not None and worker.version > 1:
                for attempt in list(worker.attempts.values()):
                    await self._tell_of(worker, attempt)

    async def _tell_of(self, worker: Worker, attempt: WorkerAttempt) -> None:
        """Tell a worker the conflicts of an attempt, where they are others than it was told."""
        mine = list(_seen_from(attempt.token, self._live))
        now = tuple((one.worker, one.attempt.fencing_token, *one.paths) for one in mine)
        if not attempt.started or now == self._told.get(attempt.token, ()):
            return
        request = integrator_pb2.GetConflictMatrixRequest(
            project=self._fleet.project, worker=worker.name
        )
        matrix = self._services.integrator.GetConflictMatrix
        found = await self._services.ask(matrix, request) if mine else None
        shown = _seen_from(attempt.token, found.conflicts if found else ())
        worker.session.push(conflict=pb.Conflict(attempt=attempt.ref, conflicts=_clipped(shown)))
        self._told[attempt.token] = now

    def _is_fought_out(self, conflict: integrator_pb2.LiveConflict) -> bool:
        """Tell whether both sides are still at work, rather than left behind."""
        live = {token for one in self._fleet.workers.values() for token in one.attempts}
        sides = {conflict.attempt.fencing_token, conflict.other.attempt.fencing_token}
        return live.issuperset(sides)


def _seen_from(
    token: int, conflicts: Iterable[integrator_pb2.LiveConflict]
) -> Iterator[pb.ConflictWith]:
    """Yield the conflicts of an attempt, each from its side."""
    for conflict in conflicts:
        other = conflict.other
        mine, theirs = (conflict.worker, conflict.attempt), (other.worker, other.attempt)
        if theirs[1].fencing_token == token:
            mine, theirs = theirs, mine
        if mine[1].fencing_token == token:
            yield pb.ConflictWith(
                worker=theirs[0],
                attempt=theirs[1] if theirs[0] else None,
                paths=other.paths,
                hunks=other.hunks,
            )


def _clipped(conflicts: Iterable[pb.ConflictWith]) -> list[pb.ConflictWith]:
    """Return conflicts with the hunks of as many of the first as fit into one message."""
    shown, size = [], 0
    for conflict in conflicts:
        size += len(conflict.hunks.encode())
        if size > _HUNKS_BYTES_MAX:
            conflict.hunks = ""
        shown.append(conflict)
    return shown
