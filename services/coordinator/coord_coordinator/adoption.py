"""The end of lost workers, and the attempts that a new session finds."""

import asyncio
from collections.abc import AsyncIterator, Container, Coroutine, Sequence
from typing import Any

import structlog
from coord.errors import CoordError
from coord.times import timestamp_ns
from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money
from coord_coordinator.reports import Reports
from coord_coordinator.services import Services
from coord_coordinator.workers import Worker, WorkerAttempt

log = structlog.get_logger(__name__)

_PAGE_SIZE = 1_000
_SWEEP_S = 30.0
_ENDED = "the attempt has ended without this worker"
_AT_WORKER = (queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING)
_LIVE = (*_AT_WORKER, queue_pb2.TASK_STATE_MERGING)


class Adoption:
    """Brings workers and the queue's attempts together again."""

    def __init__(self, fleet: Fleet, services: Services, money: Money, reports: Reports) -> None:
        self._fleet = fleet
        self._services = services
        self._money = money
        self._reports = reports
        self._burials: dict[asyncio.Task[None], str] = {}

    async def bury(self, worker: Worker, message: str, code: str = "LOST") -> None:
        """End all that a lost worker had, its work saved first, so that it can go on elsewhere.

        That goes on where the caller goes away: nobody else would end it.
        """
        await asyncio.shield(self.begin_burial(worker, message, code))

    def begin_burial(self, worker: Worker, message: str, code: str = "LOST") -> asyncio.Task[None]:
        """Begin to `bury`; saving its work may take long."""
        worker.stop()
        return self._begin(worker, self._bury(worker, message, code))

    def begin_disowning(self, worker: Worker, attempt: WorkerAttempt) -> None:
        """End an attempt that its worker has let go of without a word, its work saved first.

        A coordinator may have died between telling the worker to stop it and telling the queue.
        """
        attempt.ending = True
        self._begin(worker, self._forsake(worker, attempt))

    async def stop(self) -> None:
        """Stop burying."""
        for burial in self._burials:
            burial.cancel()
        await asyncio.gather(*self._burials, return_exceptions=True)

    def _begin(self, worker: Worker, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        burial = asyncio.create_task(ending)
        self._burials[burial] = worker.name
        burial.add_done_callback(self._note_end)
        return burial

    def _note_end(self, burial: asyncio.Task[None]) -> None:
        name = self._burials.pop(burial)
        if not burial.cancelled() and (error := burial.exception()):
            log.warning("burial failed", worker=name, error=str(error))

    async def _forsake(self, worker: Worker, attempt: WorkerAttempt) -> None:
        await self._reports.save(worker, [attempt])
        await self._reports.lose(worker, attempt, f"worker {worker.name} has let go of it")

    async def _bury(self, worker: Worker, message: str, code: str) -> None:
        log.info("worker lost", worker=worker.name, reason=message)
        if worker.attempts:
            await self._reports.save(worker, worker.attempts.values())
        for attempt in list(worker.attempts.values()):
            try:
                await self._reports.lose(
                    worker, attempt, f"worker {worker.name} was lost: {message}"
                )
            except CoordError as error:
                # Nobody renews its lease any more.
                log.warning("attempt could not be ended", worker=worker.name, error=str(error))
        await self._fleet.part(worker, code, message)

    async def succeed(self, worker: Worker, hello: pb.Hello) -> dict[int, WorkerAttempt]:
        """Bury a worker in whose place another session begins.

        Returns:
            The attempts that the new session names as its own: it has their last reports. For the
            same process, all of them: what it does not name did not reach it.
        """
        same = worker.hello.instance == hello.instance
        named = {one.fencing_token for one in hello.held}
        kept = {token: one for token, one in worker.attempts.items() if same or token in named}
        for token in kept:
            del worker.attempts[token]
        cause = "its session has begun anew" if same else "another process has taken its place"
        await self.bury(worker, cause)
        return kept

    async def restore(self) -> None:
        """Give the workers of an earlier coordinator what the queue has for them.

        So their leases are renewed while they have time to come back, and what they do not come
        back for is saved first.
        """
        if not self._fleet.workers:
            return
        async for tasks in self._pages(states=_AT_WORKER):
            for task in tasks:
                worker = self._fleet.workers.get(task.attempts[-1].worker)
                if worker is not None and worker.restored:
                    self._fleet.give(worker, _attempt(task))

    async def reclaim(self, worker: Worker, hello: pb.Hello) -> None:
        """Compare what a worker of an earlier coordinator holds with what the queue has for it."""
        kept, worker.attempts = worker.attempts, {}
        undelivered = worker.session.undelivered()
        sent = {
            message.assigned.lease.attempt.fencing_token: message.assigned.lease
            for message in undelivered
            if message.WhichOneof("message") == "assigned"
        }
        worker.recall_stops(undelivered)
        worker.session.go_on(hello.confirmed)
        await self.adopt(worker, hello, kept, sent)
        for token, lease in sent.items():
            if token not in worker.attempts and token not in worker.stopping:
                # It is about to begin what has ended meanwhile, in a worktree that it has to leave.
                ref = common_pb2.AttemptRef(task_id=lease.spec.id, fencing_token=token)
                worker.revoke(ref, _ENDED)
        worker.restored = False

    async def adopt(
        self,
        worker: Worker,
        hello: pb.Hello,
        kept: dict[int, WorkerAttempt],
        sent: Container[int] = (),
    ) -> None:
        """Take over the attempts that the queue has for a worker, as far as it holds them.

        Args:
            worker: Who has just said Hello.
            hello: What it said.
            kept: What is known of its attempts; those that have ended meanwhile are let go.
            sent: The fencing tokens of attempts that it is about to hear of.
        """
        held = {one.fencing_token: one for one in hello.held}
        for task in await self._tasks_of(worker.name):
            attempt = _attempt(task)
            known = kept.pop(attempt.token, attempt)
            is_there = held.pop(attempt.token, None) is not None or attempt.token in sent
            if attempt.token in worker.stopping:
                # Whoever told it to stop died before the queue was told.
                await self._reports.save(worker, [known])
                await self._reports.give_back(worker, known, "its worker was told to stop it")
            elif is_there:
                known.started = True
                self._fleet.give(worker, known)
            elif task.state == queue_pb2.TASK_STATE_MERGING:
                await self._money.let_go(known, worker.name)
            else:
                await self._disown(worker, task, attempt)
        for ended in kept.values():
            await self._money.let_go(ended, worker.name)
        for stale in held.values():
            if stale.fencing_token not in worker.stopping:
                worker.revoke(stale, _ENDED)

    async def sweep(self) -> None:
        """Give back the money of attempts that ended while no coordinator was there to see it."""
        async for tasks in self._pages():
            ended = [
                _attempt(task).reservation_id
                for task in tasks
                if task.attempts and task.spec.HasField("budget") and task.state not in _AT_WORKER
            ]
            if ended:
                await self._money.release(ended)

    async def sweep_claims(self, claims: Claims) -> None:
        """End the claims of attempts whose end was missed, now and then, until cancelled."""
        while True:
            try:
                await claims.end_orphans()
                for token in await self._ended(claims.of_attempts()):
                    await claims.end_attempt(token)
            except CoordError as error:
                log.warning("claims of ended attempts not ended", error=str(error))
            await asyncio.sleep(_SWEEP_S)

    async def _ended(self, tokens: set[int]) -> set[int]:
        """Return the fencing tokens whose attempts the queue does not have as live."""
        if not tokens:
            return set()
        pages = self._pages(states=_LIVE)
        live = {task.attempts[-1].fencing_token async for tasks in pages for task in tasks}
        return tokens - live

    async def _disown(self, worker: Worker, task: queue_pb2.Task, attempt: WorkerAttempt) -> None:
        await self._reports.save(worker, [attempt])
        if task.state == queue_pb2.TASK_STATE_ASSIGNED:
            await self._reports.give_back(worker, attempt, "it did not reach its worker")
        else:
            await self._reports.lose(worker, attempt, "its worker started again without it")

    async def _tasks_of(self, worker: str) -> list[queue_pb2.Task]:
        return [task async for page in self._pages(states=_LIVE, worker=worker) for task in page]

    async def _pages(self, **wanted: Any) -> AsyncIterator[Sequence[queue_pb2.Task]]:
        request = queue_pb2.ListTasksRequest(
            project=self._fleet.project, page_size=_PAGE_SIZE, **wanted
        )
        while True:
            page = await self._services.insist(self._services.queue.ListTasks, request)
            yield page.tasks
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _attempt(task: queue_pb2.Task) -> WorkerAttempt:
    newest = task.attempts[-1]
    ref = common_pb2.AttemptRef(task_id=task.spec.id, fencing_token=newest.fencing_token)
    return WorkerAttempt(
        ref=ref,
        spec=task.spec,
        assigned_ns=timestamp_ns(newest.assigned_at),
        # It may have no reservation: letting go of one that is not there is harmless.
        budget=task.spec.budget if task.spec.HasField("budget") else None,
        progress=newest.progress,
        started=task.state == queue_pb2.TASK_STATE_RUNNING,
        running=task.state == queue_pb2.TASK_STATE_RUNNING,
    )
