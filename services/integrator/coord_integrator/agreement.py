"""Brings what the integrator remembers of attempts in line with what the queue says of them."""

import structlog
from coord.errors import CoordError
from coord.v1 import queue_pb2

from coord_integrator import names
from coord_integrator.queue_link import QueueLink
from coord_integrator.repository import Repository
from coord_integrator.store import IntegratorStore, WorktreeRow

_GOING_ON = (
    queue_pb2.TASK_STATE_ASSIGNED,
    queue_pb2.TASK_STATE_RUNNING,
    queue_pb2.TASK_STATE_MERGING,
)

log = structlog.get_logger(__name__)


class Agreement:
    """Asks the queue of attempts, and mends where the two differ."""

    def __init__(self, repository: Repository, store: IntegratorStore, queue: QueueLink) -> None:
        self._repository = repository
        self._store = store
        self._queue = queue
        self._knows_all = False

    async def reach(self) -> bool:
        """Ask about what is open; tell whether a worktree serves nobody any more.

        Raises:
            CoordError: the queue's, where it is away: then the next call asks again.
        """
        if not self._knows_all:
            await self._give_back_unknown()
            self._knows_all = True
        rows = [row for row in self._store.worktrees() if row.said_to_have_ended and not row.ended]
        over = [row for row in rows if not await self._goes_on(row)]
        for row in over:
            await self._store.worktree_ended(row.worker, row.fence)
        return bool(over)

    async def _give_back_unknown(self) -> None:
        """Give back the attempts in MERGING whose change is in no store: its folder was deleted.

        A change is on disk before the queue hears of it, so those are never on their way.
        """
        for task in await self._queue.merging():
            attempt = task.attempts[-1]
            if self._store.change(names.change_id(task.spec.id, attempt.fencing_token)) is None:
                await self._give_back(task.spec.id, attempt)

    async def _give_back(self, task_id: str, attempt: queue_pb2.Attempt) -> None:
        ref = await self._repository.newest_kept(attempt.worker, attempt.fencing_token)
        message = "the merge queue has lost its change: the integrator's state was deleted"
        failure = queue_pb2.Failure(
            reason=queue_pb2.FAILURE_REASON_RELEASED,
            message=f"{message}; its work is kept under {ref}" if ref else message,
        )
        failure.attempt.task_id, failure.attempt.fencing_token = task_id, attempt.fencing_token
        log.warning("a change is not known", task=task_id, worker=attempt.worker, kept=ref)
        await self._queue.report(failure)

    async def _goes_on(self, row: WorktreeRow) -> bool:
        try:
            task = await self._queue.task(row.fence_task)
        except CoordError as error:
            if error.reason == "TASK_NOT_FOUND":
                return False
            raise
        newest = max((attempt.fencing_token for attempt in task.attempts), default=0)
        return newest == row.fence and task.state in _GOING_ON
