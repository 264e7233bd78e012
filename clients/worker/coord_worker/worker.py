"""A worker: connected to its coordinator, running an agent for each task that it is given."""

import asyncio
import contextlib
from collections import defaultdict

import grpc.aio
import structlog
from coord.environment import SYSTEM, Environment
from coord.identity import Identity
from coord.session import Report, SessionSettings, WorkerSession
from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2

from coord_worker.agents import agent_of
from coord_worker.attempt import Attempt, Setting, Stop
from coord_worker.config import WorkerConfig, proof_of_work
from coord_worker.conflicts import SENDER, THREAD, as_message
from coord_worker.inbox import Inbox, inbox_path
from coord_worker.leftovers import Leftovers, end_leftovers, remove_unbegun
from coord_worker.orphans import Orphans

_log = structlog.get_logger()


class Worker:
    """Takes tasks until it is told to go.

    Args:
        identity: Who it is.
        config: What it does with a task.
        channel: Where its coordinator is, with its token.
        environment: Time, chance and ids.
        settings: How patient its session is.
        orphans: Finds what its agents have started and hidden.
    """

    def __init__(
        self,
        identity: Identity,
        config: WorkerConfig,
        channel: grpc.aio.Channel,
        *,
        environment: Environment = SYSTEM,
        settings: SessionSettings | None = None,
        orphans: Orphans | None = None,
    ) -> None:
        self._identity, self._config, self._environment = identity, config, environment
        agent = agent_of(config.agent, config.agent_args)
        provider = config.provider or agent.provider
        self._session = WorkerSession(
            channel,
            _hello(identity, config, provider, environment),
            self._on_message,
            self._held,
            environment=environment,
            settings=settings,
        )
        self._inbox = Inbox(inbox_path(config.folder, identity.worker))
        self._leftovers = Leftovers(self._session.send)
        send, orphans = self._session.send, orphans or Orphans()
        self._setting = Setting(identity, config, agent, environment, send, orphans)
        self._attempts: dict[int, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._worktrees: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._running: set[Attempt] = set()
        self._ended = asyncio.Event()
        self._draining = False

    async def run(self) -> None:
        """Work until a Drain, or `stop`, is carried out. Cancelled, it ends its agents at once.

        Raises:
            CoordError: The coordinator refuses this worker.
        """
        name, grace_s = self._identity.worker, self._config.stop_grace_s
        remove_unbegun(self._config.folder, name)
        for left in await end_leftovers(self._config.folder, name, grace_s):
            self._leftovers.report(left)
        try:
            await self._session.run()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """End all agents, give their attempts back and go."""
        self._draining = True
        for attempt in self._attempts.values():
            attempt.stop(Stop.RELEASED)
        self._leave_if_done()

    async def agents_gone(self) -> None:
        """Wait until no agent runs."""
        while self._running:
            self._ended.clear()
            await self._ended.wait()

    def _held(self) -> list[common_pb2.AttemptRef]:
        return self._leftovers.held + [attempt.ref for attempt in self._attempts.values()]

    def _on_message(self, response: coordinator_pb2.ConnectResponse) -> None:
        match response.WhichOneof("message"):
            case "assigned":
                self._assign(response.assigned)
            case "revoke":
                self._stop(response.revoke.attempt, Stop.LOST)
            case "cancel":
                self._stop(response.cancel.attempt, Stop.LOST)
            case "budget_exceeded":
                self._stop(response.budget_exceeded.attempt, Stop.OUT_OF_BUDGET)
            case "conflict":
                self._inbox.add(as_message(response.conflict, self._environment))
            case "worker_message":
                self._inbox.add(response.worker_message)
            case "drain":
                self._drain(response.drain)
            case kind:
                _log.debug("heard", kind=kind)

    def _stop(self, ref: common_pb2.AttemptRef, why: Stop) -> None:
        if attempt := self._attempts.get(ref.fencing_token):
            _log.info("stopping an attempt", task=ref.task_id, why=why.name)
            attempt.stop(why)

    def _drain(self, drain: coordinator_pb2.Drain) -> None:
        self._draining = True
        deadline_s = duration_ns(drain.deadline) / SECOND
        _log.info("draining", deadline_s=deadline_s)
        asyncio.get_running_loop().call_later(deadline_s, self.stop)
        self._leave_if_done()

    def _assign(self, assigned: coordinator_pb2.Assigned) -> None:
        self._inbox.forget(SENDER, THREAD)
        attempt = Attempt(assigned, self._setting)
        token = attempt.ref.fencing_token
        if token in self._attempts:
            return
        if self._draining:
            message = "the worker is about to go"
            self._session.send(coordinator_pb2.Released(attempt=attempt.ref, message=message))
            return
        self._attempts[token] = attempt
        task = asyncio.create_task(self._work(attempt, assigned.worktree.path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, attempt: Attempt, worktree: str) -> None:
        # What was in the worktree before may still be on its way out.
        async with self._worktrees[worktree] if worktree else contextlib.nullcontext():
            self._session.send(coordinator_pb2.Started(attempt=attempt.ref))
            self._running.add(attempt)
            report = await self._report_of(attempt)
            self._running.remove(attempt)
            self._ended.set()
        if report is not None:
            await self._session.send(report)
            with contextlib.suppress(OSError):  # On a full disk nobody is given up, either.
                proof_of_work(self._config.folder, self._identity.worker).touch()
        attempt.clean_up()
        del self._attempts[attempt.ref.fencing_token]
        self._leave_if_done()

    @staticmethod
    async def _report_of(attempt: Attempt) -> Report | None:
        try:
            return await attempt.run()
        except Exception as error:  # noqa: BLE001 - told to the coordinator.
            _log.exception("the worker failed at an attempt", task=attempt.ref.task_id)
            return coordinator_pb2.Failed(
                attempt=attempt.ref,
                reason=queue_pb2.FAILURE_REASON_AGENT_ERROR,
                message=f"the worker itself failed: {error!r}",
            )

    def _leave_if_done(self) -> None:
        if self._draining and not self._attempts:
            self._session.leave()


def _hello(
    identity: Identity, config: WorkerConfig, provider: str, environment: Environment
) -> coordinator_pb2.Hello:
    return coordinator_pb2.Hello(
        project=identity.project,
        worker=identity.worker,
        instance=environment.new_id("worker-"),
        capabilities=config.capabilities,
        profile=config.profile,
        slots=config.slots,
        buckets=config.buckets,
        preferences=config.preferences,
        provider=provider,
        runs=config.runs,
    )
