"""Keeps the leases of the changes that wait, and tells the queue how they ended."""

import structlog
from coord.v1 import integrator_pb2, queue_pb2

from coord_integrator.endings import Endings
from coord_integrator.queue_link import QueueLink
from coord_integrator.store import UNFINISHED, IntegratorStore

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews the leases of changes, and ends the changes whose lease is gone."""

    def __init__(self, store: IntegratorStore, queue: QueueLink, endings: Endings) -> None:
        self._store = store
        self._queue = queue
        self._endings = endings

    async def renew(self) -> bool:
        """Renew all of them; tell whether a change has ended by that.

        A change on its way to the target is left to the merge queue, which asks about its lease
        itself before it moves the branch.
        """
        rows = [row for _, row in self._store.list_changes(UNFINISHED) if row.handed_over]
        ended = False
        directives = await self._queue.renew([row.change.attempt for row in rows])
        for row, directive in zip(rows, directives, strict=True):
            landing = row.change.state == integrator_pb2.CHANGE_STATE_LANDING
            if directive != queue_pb2.LEASE_DIRECTIVE_CONTINUE and not landing:
                await self._endings.stale(row, directive)
                ended = True
        return ended


class Reporter:
    """Sends what the queue has to know until the queue has answered."""

    def __init__(self, store: IntegratorStore, queue: QueueLink) -> None:
        self._store = store
        self._queue = queue

    async def send(self) -> None:
        """Send all that waits, in order."""
        for number, report in self._store.reports():
            error = await self._queue.report(report)
            if error is not None:
                task = report.attempt.task_id
                log.warning("the queue did not take a report", task=task, why=error.message)
            await self._store.drop_reports([number])
