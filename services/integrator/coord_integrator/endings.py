"""How changes move from state to state, and how they end other than by landing.

QUEUED -> CHECKING -> LANDING -> LANDED
|          |          |
+----------+----------+--> REJECTED | EMPTY | STALE | CANCELLED
"""

from collections.abc import Collection, Mapping

import structlog
from coord.v1 import integrator_pb2, queue_pb2
from coord_runtime.checks import MESSAGE_BYTES_MAX

from coord_integrator.merging import Merge, clip
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.store import ChangeRow, IntegratorStore, Move, Report

State = integrator_pb2.ChangeState

CHECKING = integrator_pb2.CHANGE_STATE_CHECKING
LANDED = integrator_pb2.CHANGE_STATE_LANDED
LANDING = integrator_pb2.CHANGE_STATE_LANDING
QUEUED = integrator_pb2.CHANGE_STATE_QUEUED
WAITING = (QUEUED, CHECKING)

_CANCELLED = integrator_pb2.CHANGE_STATE_CANCELLED
_EMPTY = integrator_pb2.CHANGE_STATE_EMPTY
_REJECTED = integrator_pb2.CHANGE_STATE_REJECTED
_STALE = integrator_pb2.CHANGE_STATE_STALE
_PATHS_SHOWN = 10

log = structlog.get_logger(__name__)


class Endings:
    """Moves changes, and counts and tells what it moves."""

    def __init__(self, store: IntegratorStore, metrics: IntegratorMetrics) -> None:
        self._store = store
        self._metrics = metrics

    async def move(self, moves: Mapping[str, Move], sources: Collection[State]) -> list[ChangeRow]:
        """Move changes by id, all at once; none of them unless all are in one of `sources`."""
        moved = await self._store.move_changes(moves, sources)
        for row in moved:
            name = State.Name(row.change.state).removeprefix("CHANGE_STATE_")
            self._metrics.changes.labels(name.lower()).inc()
            log.info("change", change=row.change.change_id, state=name, why=row.change.message)
        return moved

    async def queue_again(self, rows: Collection[ChangeRow], why: str) -> None:
        """Let changes wait as if nothing had been tested of them."""
        for row in rows:
            await self._one(row, (CHECKING, LANDING), Move(QUEUED, message=why))

    async def cancel(self, row: ChangeRow, message: str) -> ChangeRow | None:
        """Take a change out for the operator; None where it waits no more."""
        report = _failure(row, queue_pb2.FAILURE_REASON_RELEASED, message)
        return await self._one(row, WAITING, Move(_CANCELLED, message, report=report))

    async def empty(self, row: ChangeRow, message: str) -> None:
        """End a change of which there is nothing to land."""
        report = queue_pb2.Completion(attempt=row.change.attempt, message=message)
        await self._one(row, WAITING, Move(_EMPTY, message, report=report))

    async def stale(
        self, row: ChangeRow, directive: int, sources: Collection[State] = WAITING
    ) -> None:
        """End a change whose lease is gone; its work stays kept."""
        cancelled = directive == queue_pb2.LEASE_DIRECTIVE_CANCEL
        why = "its task was cancelled" if cancelled else "its attempt has lost its lease"
        await self._one(row, sources, Move(_STALE, message=why))

    async def reject_conflict(self, row: ChangeRow, merge: Merge) -> None:
        """Give a change back that does not merge, with both sides' hunks."""
        message = f"conflicts with what has landed since it began: {paths_text(merge)}"
        await self._reject(row, queue_pb2.FAILURE_REASON_CONFLICT, message, merge.detail)

    async def lost(self, row: ChangeRow, message: str) -> None:
        """Give a change back whose work is gone; that is nobody's fault."""
        await self._reject(row, queue_pb2.FAILURE_REASON_RELEASED, message)

    async def reject_red(self, row: ChangeRow, message: str, output: str) -> None:
        """Give a change back that is red, with what the check has printed."""
        await self._reject(row, queue_pb2.FAILURE_REASON_CHECK_FAILED, message, output)

    async def _reject(
        self, row: ChangeRow, reason: queue_pb2.FailureReason, message: str, detail: str = ""
    ) -> None:
        message = clip(message, MESSAGE_BYTES_MAX)
        move = Move(_REJECTED, message, detail, report=_failure(row, reason, message, detail))
        if await self._one(row, WAITING, move) is not None:
            name = queue_pb2.FailureReason.Name(reason).removeprefix("FAILURE_REASON_")
            self._metrics.rejections.labels(name.lower()).inc()

    async def _one(
        self, row: ChangeRow, sources: Collection[State], move: Move
    ) -> ChangeRow | None:
        return next(iter(await self.move({row.change.change_id: move}, sources)), None)


def paths_text(merge: Merge) -> str:
    """Return the paths that conflict, the first of them by name."""
    shown = ", ".join(merge.conflicts[:_PATHS_SHOWN])
    more = len(merge.conflicts) - _PATHS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _failure(
    row: ChangeRow, reason: queue_pb2.FailureReason, message: str, detail: str = ""
) -> Report:
    return queue_pb2.Failure(
        attempt=row.change.attempt, reason=reason, message=message, detail=detail
    )
