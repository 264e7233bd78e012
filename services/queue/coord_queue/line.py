"""Workers that wait for tasks, first come first served."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Once
from coord_runtime.wakeups import Wakeups

from coord_queue.store import QueueStore

# How soon to look again after an error.
_AGAIN_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Waiter:
    request: pb.LeaseTasksRequest
    once: Once | None
    answer: "asyncio.Future[pb.LeaseTasksResponse]"


class Line:
    """Gives ready tasks to who has waited longest and can do them.

    One task serves all who wait, as many as there are ready tasks: waking everybody for each task
    would cost more than the task.

    Args:
        store: Where the tasks are.
        environment: Time.
    """

    def __init__(self, store: QueueStore, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._changed = Wakeups()
        self._waiting: defaultdict[str, dict[_Waiter, None]] = defaultdict(dict)

    async def lease(
        self, request: pb.LeaseTasksRequest, once: Once | None
    ) -> pb.LeaseTasksResponse:
        """Return ready tasks; wait for one if there is none."""
        wait_ns = duration_ns(request.wait)
        line = self._waiting[request.project]
        if not wait_ns:
            return await self._store.lease(request, once)
        if once is not None and (before := self._store.remembered(once)) is not None:
            return before
        if not line and (response := await self._attempt(request, once)).leases:
            return response
        waiter = _Waiter(request, once, asyncio.get_running_loop().create_future())
        line[waiter] = None
        self.look()
        try:
            async with asyncio.timeout(wait_ns / SECOND):
                return await waiter.answer
        except TimeoutError:
            return await self._store.lease(request, once)
        finally:
            line.pop(waiter, None)

    def look(self) -> None:
        """Serve who waits: tasks may have become ready."""
        if any(self._waiting.values()):
            self._changed.wake()

    async def serve(self) -> None:
        """Serve those who wait, for ever."""
        while True:
            seen = self._changed.seen()
            waits_s = [await self._look_at(one) for one in list(self._waiting)]
            await self._changed.wait(seen, min(filter(None, waits_s), default=None))

    def close(self) -> None:
        """Send everybody away with nothing."""
        for line in self._waiting.values():
            for waiter in line:
                if not waiter.answer.done():
                    waiter.answer.set_result(pb.LeaseTasksResponse())

    async def _look_at(self, project: str) -> float | None:
        """Serve a project's line; return in how many seconds to look again, None for no time."""
        try:
            await self._serve(project)
            return self._next_s(project)
        except Exception:  # Whatever it is, the next task comes.
            log.exception("waiting workers could not be served")
            return _AGAIN_S

    async def _serve(self, project: str) -> None:
        line = list(self._waiting[project])
        while line and (ready := self._store.ready_count(project)):
            first, line = line[:ready], line[ready:]
            await asyncio.gather(*(self._give(waiter) for waiter in first))

    async def _give(self, waiter: _Waiter) -> None:
        if waiter.answer.done():
            return
        try:
            response = await self._attempt(waiter.request, waiter.once)
        except CoordError as error:
            if not waiter.answer.done():
                waiter.answer.set_exception(error)
            return
        if response.leases and waiter.answer.done():  # Gone meanwhile.
            await self._give_back(waiter.request, response.leases)
        elif response.leases:
            waiter.answer.set_result(response)

    async def _attempt(
        self, request: pb.LeaseTasksRequest, once: Once | None
    ) -> pb.LeaseTasksResponse:
        """Lease what is ready; that nothing is, is no answer yet."""
        if not self._store.ready_count(request.project):
            return pb.LeaseTasksResponse()
        return await self._store.lease(request, once, or_nothing=False)

    async def _give_back(self, request: pb.LeaseTasksRequest, leases: Sequence[pb.Lease]) -> None:
        refs = [
            common_pb2.AttemptRef(task_id=one.spec.id, fencing_token=one.attempt.fencing_token)
            for one in leases
        ]
        releases = [pb.Release(attempt=ref, message="the worker has gone") for ref in refs]
        await self._store.release(
            pb.ReleaseTasksRequest(project=request.project, releases=releases)
        )
        self.look()

    def _next_s(self, project: str) -> float | None:
        """Return in how many seconds the next backoff ends that somebody waits for."""
        next_ns = self._store.next_ready_ns(project) if self._waiting[project] else 0
        return max(next_ns - self._environment.now_ns(), 1) / SECOND if next_ns else None
