"""A worker of your own: a coroutine that works at tasks, connected to its coordinator."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import grpc.aio

from coord.attempt import Attempt, Stop
from coord.client import connect
from coord.environment import SYSTEM, Environment
from coord.errors import from_rpc
from coord.identity import Identity
from coord.inbox import Inbox
from coord.questions import Questions
from coord.session import Report, SessionSettings, WorkerSession
from coord.task import Task
from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2, coordinator_pb2, coordinator_pb2_grpc

Handler = Callable[[Task], Coroutine[Any, Any, str | None]]

_SEND_S = 60.0


class Worker:
    """Takes tasks, and runs the handler for each, until it is drained or stopped.

    Heartbeats, reconnects, acknowledgements and the end of attempts are its own business. With a
    repository it has one slot and no prefetch.

    Args:
        identity: Who it is; by default what the variables `COORD_ADDRESS`, `COORD_TOKEN`,
            `COORD_PROJECT` and `COORD_WORKER` say, which `coord token` prints.
        slots: How many tasks it works at at a time.
        prefetch: How many more it keeps in wait; others may take them from it.
        capabilities: What it can do.
        preferences: What it does best: categories and capabilities, with weights of 0 to 1.
        roles: What it is: messages may be sent to all who have a role.
        runs: The runs whose tasks it takes; none for any.
        buckets: Rate limits of which each task takes one request.
        provider: Whose rate limits its model is under.
        environment: Time, chance and ids.
        settings: How patient its session is.
    """

    def __init__(
        self,
        identity: Identity | None = None,
        *,
        slots: int = 1,
        prefetch: int = 0,
        capabilities: Sequence[str] = (),
        preferences: Mapping[str, float] | None = None,
        roles: Sequence[str] = (),
        runs: Sequence[str] = (),
        buckets: Sequence[str] = (),
        provider: str = "",
        environment: Environment = SYSTEM,
        settings: SessionSettings | None = None,
    ) -> None:
        self._identity = identity or Identity.from_environment(os.environ)
        self._hello = coordinator_pb2.Hello(
            project=self._identity.project,
            worker=self._identity.worker,
            instance=environment.new_id("worker-"),
            slots=slots,
            prefetch=prefetch,
            capabilities=capabilities,
            preferences=preferences,
            roles=roles,
            runs=runs,
            buckets=buckets,
            provider=provider,
        )
        self._environment, self._settings = environment, settings
        self._handler: Handler | None = None
        self._inbox = Inbox()
        self._attempts: dict[int, Attempt] = {}
        self._waiting: deque[Attempt] = deque()
        self._busy = 0
        self._works: set[asyncio.Task[None]] = set()
        self._draining = False
        self._session: WorkerSession | None = None
        self._stub: Any = None
        self._questions = Questions(self._say)

    def handler(self, handle: Handler) -> Handler:
        """Have each task handled by a coroutine function; a decorator.

        What it returns says for people what was done. TaskFailed, or any other error, ends the
        attempt without success; TaskReleased gives it back. It is cancelled when the attempt has to
        stop.
        """
        self._handler = handle
        return handle

    def run(self) -> None:
        """Work until drained, or until SIGTERM or SIGINT, which gives all tasks back.

        Raises:
            CoordError: The coordinator refuses this worker.
            ValueError: It has no handler.
        """
        asyncio.run(self._run())

    async def serve(self) -> None:
        """Work until drained or stopped.

        Raises:
            CoordError: The coordinator refuses this worker.
            ValueError: It has no handler.
        """
        async with connect(self._identity.address, self._identity.token) as channel:
            await self.serve_on(channel)

    async def serve_on(self, channel: grpc.aio.Channel) -> None:
        """Likewise, on a channel that leads to the coordinator and carries the worker's token."""
        if self._handler is None:
            raise ValueError("the worker has no handler: give it one with @worker.handler")
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._session = WorkerSession(
            channel,
            self._hello,
            self._on_message,
            self._held,
            environment=self._environment,
            settings=self._settings,
        )
        self._leave_if_done()
        try:
            await self._session.run()
        finally:
            self._waiting.clear()
            for work in self._works:
                work.cancel()
            await asyncio.gather(*self._works, return_exceptions=True)

    def stop(self) -> None:
        """End all handlers, give their tasks back and go."""
        self._draining = True
        for attempt in list(self._attempts.values()):
            self._end(attempt, Stop.RELEASED)
        self._leave_if_done()

    async def send(
        self, body: str, *, worker: str = "", role: str = "", thread: str = ""
    ) -> list[str]:
        """Send a message to other workers; it waits for those that are not there.

        Args:
            body: What to say.
            worker: To whom.
            role: Or to all who have this role; neither: to everybody.
            thread: Groups messages.

        Returns:
            Who gets it.

        Raises:
            CoordError: NOT_FOUND with reason WORKER_NOT_FOUND; RESOURCE_EXHAUSTED with reason
                MAILBOX_FULL.
        """
        message = coordinator_pb2.WorkerMessage(
            message_id=self._environment.new_id("message-"), body=body, thread=thread
        )
        if worker:
            message.worker = worker
        elif role:
            message.role = role
        else:
            message.everybody = True
        request = coordinator_pb2.SendMessageRequest(
            project=self._identity.project, message=message
        )
        try:
            answer = await self._stub.SendMessage(request, timeout=_SEND_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None
        return list(answer.workers)

    async def receive(self) -> coordinator_pb2.WorkerMessage:
        """Wait for the next message of another worker, or of the operator."""
        return await self._inbox.receive()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self.serve()

    def _say(self, report: Report) -> asyncio.Future[None]:
        if self._session is None:
            raise RuntimeError("the worker does not serve")
        return self._session.send(report)

    def _held(self) -> list[common_pb2.AttemptRef]:
        return [attempt.task.ref for attempt in self._attempts.values()]

    def _on_message(self, response: coordinator_pb2.ConnectResponse) -> None:
        match response.WhichOneof("message"):
            case "assigned":
                self._assign(response.assigned)
            case "recall":
                self._recall(response.recall.attempt)
            case "revoke" | "cancel" as kind:
                self._end_named(getattr(response, kind).attempt, Stop.LOST)
            case "budget_exceeded":
                self._end_named(response.budget_exceeded.attempt, Stop.OUT_OF_BUDGET)
            case "budget_warning":
                self._warn(response.budget_warning)
            case "conflict" if not response.conflict.check_id:
                self._tell_conflicts(response.conflict)
            case "drain":
                self._drain(response.drain)
            case "worker_message":
                self._inbox.put(response.worker_message)
            case "claim_lost":
                self._lose(response.claim_lost.claim.claim_id)
            case _:
                self._questions.hear(response)

    def _assign(self, assigned: coordinator_pb2.Assigned) -> None:
        task = Task(assigned, self._say, self._questions, self._environment)
        if task.ref.fencing_token in self._attempts:
            return
        attempt = self._attempts[task.ref.fencing_token] = Attempt(task)
        self._waiting.append(attempt)
        if self._draining:
            self._end(attempt, Stop.RELEASED)
        self._begin()

    def _begin(self) -> None:
        """Let what waits have the free slots."""
        while self._waiting and self._busy < self._hello.slots:
            self._busy += 1
            self._start(self._handle(self._waiting.popleft()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    def _recall(self, ref: common_pb2.AttemptRef) -> None:
        attempt = self._attempts.get(ref.fencing_token)
        if attempt is not None and attempt in self._waiting:
            self._end(attempt, Stop.RELEASED)

    def _warn(self, warning: coordinator_pb2.BudgetWarning) -> None:
        if attempt := self._attempts.get(warning.attempt.fencing_token):
            attempt.task.warning = warning.balance

    def _lose(self, claim_id: str) -> None:
        for attempt in self._attempts.values():
            attempt.task.lose(claim_id)

    def _tell_conflicts(self, conflict: coordinator_pb2.Conflict) -> None:
        if attempt := self._attempts.get(conflict.attempt.fencing_token):
            attempt.task.conflicting = list(conflict.conflicts)

    def _drain(self, drain: coordinator_pb2.Drain) -> None:
        self._draining = True
        for attempt in list(self._waiting):
            self._end(attempt, Stop.RELEASED)
        deadline_s = duration_ns(drain.deadline) / SECOND
        asyncio.get_running_loop().call_later(deadline_s, self.stop)
        self._leave_if_done()

    def _end_named(self, ref: common_pb2.AttemptRef, why: Stop) -> None:
        if attempt := self._attempts.get(ref.fencing_token):
            self._end(attempt, why)

    def _end(self, attempt: Attempt, why: Stop) -> None:
        attempt.stop(why)
        if attempt in self._waiting:
            self._waiting.remove(attempt)
            self._start(self._report(attempt))

    async def _handle(self, attempt: Attempt) -> None:
        try:
            if attempt.stopped is None and self._handler is not None:
                await self._run_handler(attempt, self._handler)
        finally:
            self._busy -= 1
            self._begin()
        await self._report(attempt)

    async def _run_handler(self, attempt: Attempt, handler: Handler) -> None:
        self._say(coordinator_pb2.Started(attempt=attempt.task.ref))
        attempt.handling = asyncio.create_task(handler(attempt.task))
        limit_s = duration_ns(attempt.task.spec.timeout) / SECOND
        try:
            await asyncio.wait([attempt.handling], timeout=limit_s or None)
            if not attempt.handling.done():
                attempt.stop(Stop.TIMEOUT)
        finally:
            attempt.handling.cancel()
            await asyncio.wait([attempt.handling])

    async def _report(self, attempt: Attempt) -> None:
        report = attempt.outcome()
        if report is not None:
            await self._say(report)
        del self._attempts[attempt.task.ref.fencing_token]
        if report is None and self._session is not None:
            self._session.beat()  # Its slot is free, which no report says.
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._draining and not self._attempts and self._session is not None:
            self._session.leave()
