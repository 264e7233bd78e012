"""Stop and Resume: everything halts with its work saved, and stays so across restarts."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
from coord.errors import CoordError
from coord.v1 import common_pb2, integrator_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.fleet import Fleet
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.store import CoordinatorStore
from coord_coordinator.workers import Worker

_SETTING = "stopped"
# How long an agent has to end before its work is saved as it stands.
_LET_GO_S = 10.0
_KEEP_S = 60.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Halt:
    """Whether everything is stopped.

    Attributes:
        reason: Who stopped it and why; None while it goes on.
        on_change: Called when that has changed, before the operator is answered.
    """

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        reports: Reports,
        store: CoordinatorStore,
        *,
        has_repository: bool,
    ) -> None:
        self.reason: common_pb2.Reason | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._fleet = fleet
        self._services = services
        self._has_repository = has_repository
        self._reports = reports
        self._store = store
        # A pause that was long on its way must not come after the end of the stop.
        self._merging_turn = asyncio.Lock()
        self._under_way: dict[asyncio.Task[Any], None] = {}

    def restore(self) -> None:
        """Read whether an earlier coordinator was stopped."""
        message = self._store.setting(_SETTING)
        self.reason = _stopped(message) if message else None

    async def keep(self) -> None:
        """See to it that merging is stopped or not as everything else is, until cancelled.

        A request of an earlier coordinator, or one that was long on its way, may arrive late.
        """
        while self._has_repository:
            await self._tell_merging()
            await asyncio.sleep(_KEEP_S)

    async def stop(self, message: str) -> list[common_pb2.AttemptRef]:
        """Stop all attempts, save their work, and let their tasks wait; return the attempts.

        That goes on where the caller goes away: nobody else would give the attempts back.
        """
        return await self._whole(self._stop(message))

    async def resume(self) -> None:
        """Let everything go on, also where the caller goes away."""
        await self._whole(self._resume())

    async def close(self) -> None:
        """Leave off what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._under_way[task] = None
        task.add_done_callback(self._note_end)
        return await asyncio.shield(task)

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        del self._under_way[task]
        if not task.cancelled() and (error := task.exception()):
            log.warning("neither stopped nor resumed as asked", error=str(error))

    async def _stop(self, message: str) -> list[common_pb2.AttemptRef]:
        await self._set(message, "STOPPED")
        self._change(_stopped(message))
        workers = [worker for worker in self._fleet.workers.values() if worker.attempts]
        stopped = [one.ref for worker in workers for one in worker.attempts.values()]
        for worker in workers:
            for attempt in worker.attempts.values():
                worker.revoke(attempt.ref, f"everything was stopped: {message}")
        await asyncio.gather(self._tell_merging(), *map(self._save, workers))
        return stopped

    async def _resume(self) -> None:
        async with self._merging_turn:
            await self._resume_merging()
            await self._set("", "RESUMED")
            self._change(None)

    def _change(self, reason: common_pb2.Reason | None) -> None:
        self.reason = reason
        self.on_change()
        self._fleet.changed.wake()

    async def _tell_merging(self) -> None:
        """Stop merging, or let it go on, as everything else is."""
        async with self._merging_turn:
            if self.reason is None:
                await self._resume_merging()
            elif self._has_repository:
                pause = integrator_pb2.PauseMergingRequest(
                    project=self._fleet.project, message=self.reason.message
                )
                await self._services.insist(self._services.integrator.PauseMerging, pause)

    async def _resume_merging(self) -> None:
        if self._has_repository:
            resume = integrator_pb2.ResumeMergingRequest(project=self._fleet.project)
            await self._services.insist(self._services.integrator.ResumeMerging, resume)

    async def _set(self, message: str, code: str) -> None:
        reason = common_pb2.Reason(code=code, message=message)
        event = pb.CoordinatorEvent(reason=reason)
        await self._store.set(self._fleet.project, _SETTING, message, event)

    async def _save(self, worker: Worker) -> None:
        """Save what a worker has once its agents are gone, and give its attempts back."""
        try:
            async with asyncio.timeout(_LET_GO_S):
                while worker.stopping and worker.connected:
                    await self._fleet.changed.wait(self._fleet.changed.seen(), 0.2)
        except TimeoutError:
            log.warning("agent did not end in time", worker=worker.name)
        try:
            await self._reports.save(worker, worker.attempts.values())
            for attempt in list(worker.attempts.values()):
                await self._reports.give_back(worker, attempt, "everything was stopped")
        except CoordError as error:
            log.warning("attempts not given back", worker=worker.name, error=str(error))


def _stopped(message: str) -> common_pb2.Reason:
    return common_pb2.Reason(code="STOPPED", message=message)
