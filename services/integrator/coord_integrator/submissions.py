"""How an attempt's work becomes a change that waits to land.

The work is kept first, then the change recorded, then the queue asked to move the attempt's lease
here. A crash between two of these steps is mended by the repetition of the call, or by
`hand_over_rest`: the change's id is made from the attempt, so it is always the same change.
"""

from collections.abc import Sequence

import structlog
from coord.errors import CoordError, failed_precondition
from coord.v1 import common_pb2, integrator_pb2, queue_pb2

from coord_integrator import names
from coord_integrator.line import PRIORITY_DEFAULT, is_barrier
from coord_integrator.merging import Merger
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.store import ChangeRow, IntegratorStore, Move, WorktreeRow
from coord_integrator.target import Target
from coord_integrator.worktrees import Kept

_QUEUED = integrator_pb2.CHANGE_STATE_QUEUED

log = structlog.get_logger(__name__)


class Submissions:
    """Records changes and takes over their leases.

    Args:
        queue: Has the leases.
        merger: Compares.
        repository: Where the work is kept.
        store: Where the changes are recorded.
        target: Where they are to land.
        metrics: What is counted.
        barriers: Globs of what may land only by itself.
    """

    def __init__(
        self,
        queue: QueueLink,
        merger: Merger,
        *,
        repository: Repository,
        store: IntegratorStore,
        target: Target,
        metrics: IntegratorMetrics,
        barriers: Sequence[str],
    ) -> None:
        self._repository = repository
        self._store = store
        self._target = target
        self._queue = queue
        self._merger = merger
        self._metrics = metrics
        self._barriers = barriers

    async def record(
        self,
        row: WorktreeRow,
        request: integrator_pb2.SubmitChangeRequest,
        kept: Kept | None,
        tip: str,
    ) -> ChangeRow:
        """Record what was kept of a worktree as the change of its attempt.

        Args:
            row: The worktree.
            request: What the worker has said.
            kept: What was kept; None where there was nothing.
            tip: The newest landed commit.
        """
        attempt = request.attempt
        change = integrator_pb2.Change(
            change_id=names.change_id(attempt.task_id, attempt.fencing_token),
            attempt=attempt,
            worker=row.worker,
            state=_QUEUED,
            head_commit=_head(kept) or row.base,
            base_commit=row.base,
            wip_ref=kept.ref if kept else "",
        )
        base = await self._repository.merge_base(change.head_commit, tip)
        if base is not None:
            extent = await self._merger.extent(base, change.head_commit)
            change.lines_added, change.lines_removed = extent.added, extent.removed
            change.barrier = is_barrier(extent.paths, self._barriers)
        submitted = ChangeRow(change, request.title, request.cost, self._target.branch)
        stored = await self._store.add_change(submitted)
        self._metrics.changes.labels("queued").inc()
        return stored

    async def hand_over(self, row: ChangeRow, tip: str) -> ChangeRow:
        """Take over the lease of a change, and end it at once where there is nothing to land.

        Raises:
            CoordError: the queue's, where it is away; FAILED_PRECONDITION with reason STALE_TOKEN
                where the attempt has lost its lease.
        """
        change_id = row.change.change_id
        error = await self._queue.submit(row.change.worker, row.change.attempt)
        if error is not None:
            await self._end(change_id, Move(integrator_pb2.CHANGE_STATE_STALE, error.message))
            raise _stale(row.change, error)
        if await self._repository.changes_nothing(row.change.head_commit, tip):
            message = "nothing was changed"
            report = queue_pb2.Completion(attempt=row.change.attempt, message=message)
            await self._end(
                change_id, Move(integrator_pb2.CHANGE_STATE_EMPTY, message, report=report)
            )
        spec = (await self._queue.task(row.change.attempt.task_id)).spec
        priority = spec.priority if spec.HasField("priority") else PRIORITY_DEFAULT
        await self._store.hand_over_change(change_id, spec.category, priority)
        return self._store.change(change_id) or row

    async def hand_over_rest(self) -> None:
        """Take over the leases that a crash, or a queue that was away, has left."""
        rest = [row for _, row in self._store.list_changes((_QUEUED,)) if not row.handed_over]
        standing = await self._target.read() if rest else None
        if standing is None:
            return
        for row in rest:
            try:
                await self.hand_over(row, standing.tip)
            except CoordError as error:
                if error.reason != "STALE_TOKEN":
                    raise

    async def _end(self, change_id: str, move: Move) -> None:
        await self._store.move_change(change_id, (_QUEUED,), move)
        name = integrator_pb2.ChangeState.Name(move.state).removeprefix("CHANGE_STATE_")
        self._metrics.changes.labels(name.lower()).inc()
        log.info("change", change=change_id, state=name, why=move.message)


def _head(kept: Kept | None) -> str:
    if kept is None:
        return ""
    return kept.capture.commit if kept.capture.changed else kept.capture.head


def _stale(change: integrator_pb2.Change, error: common_pb2.ItemError) -> CoordError:
    return failed_precondition(
        "STALE_TOKEN",
        f"{error.message}; the work is kept under {change.wip_ref or change.head_commit}",
        change_id=change.change_id,
        wip_ref=change.wip_ref,
    )
