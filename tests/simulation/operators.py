"""Operators of a whole simulation: they add, cancel, pause, drain, stop, cap, and lie."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from coord.errors import CoordError
from coord.times import SECOND, duration
from coord.v1 import (
    claims_pb2,
    common_pb2,
    coordinator_pb2,
    integrator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.integrator_pb2_grpc import IntegratorServiceStub
from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord.v1.limiter_pb2_grpc import LimiterServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.peers import ask, insist
from coord_runtime.tokens import Kind

from tests.simulation.crew import BUCKETS, Crew
from tests.simulation.git import Repository
from tests.simulation.machine import Machine
from tests.simulation.plan import Plan
from tests.simulation.world import PROJECT, World

_CAP, _TASK_BUDGET = 500_000, 400_000
# So much that nobody meets it.
_RICH = 10**15
_LATE_S = 40.0
_PAUSE_S = 8.0
_PATHS = ("src/**", "docs/*")
_PROJECT_SCOPE = ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_PROJECT, id=PROJECT)


class Operators:
    """What people do to a project.

    Attributes:
        added: The tasks whose adding was acknowledged.
    """

    def __init__(self, world: World, plan: Plan, crew: Crew, repository: Repository | None) -> None:
        self.added: list[str] = []
        self._world = world
        self._chance = world.chance
        self._plan = plan
        self._crew = crew
        self._repository = repository
        self._cap = self._chance.choice([_CAP, 4 * _CAP])
        self._numbers = 0
        self._commits = 0
        self._to_resume: dict[str, Callable[[], Awaitable[None]]] = {}
        self._queue: Any = QueueServiceStub(world.operator("queue"))
        self._coordinator: Any = CoordinatorServiceStub(world.operator("coordinator"))
        self._integrator: Any = IntegratorServiceStub(world.operator("integrator"))
        self._ledger: Any = LedgerServiceStub(world.operator("ledger"))
        self._limiter: Any = LimiterServiceStub(world.operator("limiter"))

    async def prepare(self) -> None:
        """Set caps and limits, before anything is done."""
        if "budgets" in self._plan.kinds:
            await self._set_cap(self._cap)
        if "limits" in self._plan.kinds:
            limits = limiter_pb2.BucketLimits(
                requests=limiter_pb2.RateLimit(per_minute=40, burst=5),
                tokens=limiter_pb2.RateLimit(per_minute=600, burst=300),
            )
            for name in BUCKETS:
                request = limiter_pb2.ConfigureBucketRequest(
                    project=PROJECT, name=name, limits=limits, request_id=self._new_id()
                )
                await self._insist(self._limiter.ConfigureBucket, request)

    async def add(self) -> None:
        """Add a random graph, a few tasks at a time."""
        while self._numbers < self._plan.tasks:
            await self._add(min(4, self._plan.tasks - self._numbers))
            await asyncio.sleep(self._chance.uniform(0, self._plan.storm_s / self._plan.tasks))

    async def meddle(self) -> None:
        """Do one thing after the other, until cancelled."""
        moves: list[Callable[[], Awaitable[None]]] = [
            self._cancel,
            self._claim,
            self._drain,
            self._kill,
            self._more,
            self._pause,
            self._raise_cap,
            self._reprioritize,
            self._retry,
            self._stop,
            self._strategy,
        ]
        moves += [self._hold_merging, self._use_repository] if self._repository else []
        while True:
            await asyncio.sleep(self._chance.uniform(1, 2 * _PAUSE_S))
            move = self._chance.choice(moves)
            self._world.network.inject(f"operator: {move.__name__.strip('_').replace('_', ' ')}")
            try:
                await move()
            except CoordError as error:
                self._world.network.note(f"the operator was refused: {error.reason}")

    async def lie(self) -> None:
        """Report on attempts of others, with their tokens and with others, until cancelled."""
        token, name = self._world.token(Kind.WORKER, "liar"), "liar"
        channel = self._world.network.channel("queue", token, Machine(name))
        queue: Any = QueueServiceStub(channel)
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 10))
            await self._lie(queue, name)

    async def settle(self) -> None:
        """Undo what keeps tasks from being done, where that was not done yet."""
        await self._set_cap(_RICH)
        for resume in list(self._to_resume.values()):
            await resume()
        # A request to pause may come a second time, after the end of the pause.
        await asyncio.sleep(_LATE_S)
        await self._insist(self._queue.ResumeQueue, queue_pb2.ResumeQueueRequest(project=PROJECT))
        if self._repository is not None:
            request = integrator_pb2.ResumeMergingRequest(project=PROJECT)
            await self._insist(self._integrator.ResumeMerging, request)

    async def left(self) -> list[str]:
        """Return the tasks that have not ended."""
        asked = queue_pb2.GetQueueStatsRequest(project=PROJECT)
        stats = await self._insist(self._queue.GetQueueStats, asked)
        if sum(one.count for one in stats.counts) == stats.ended:
            return []
        live = [
            queue_pb2.TASK_STATE_PENDING,
            queue_pb2.TASK_STATE_ASSIGNED,
            queue_pb2.TASK_STATE_RUNNING,
            queue_pb2.TASK_STATE_MERGING,
        ]
        request = queue_pb2.ListTasksRequest(project=PROJECT, states=live, page_size=500)
        return [one.spec.id for one in (await self._insist(self._queue.ListTasks, request)).tasks]

    async def why(self, task_id: str) -> str:
        """Say why a task is not done."""
        request = coordinator_pb2.ExplainDispatchRequest(project=PROJECT, task_id=task_id)
        return str(await self._insist(self._coordinator.ExplainDispatch, request))

    def _new_id(self) -> str:
        return self._world.environment.new_id("request-")

    async def _insist(self, call: Any, request: Any) -> Any:
        return await insist(call, request, self._world.environment, limit_s=20)

    async def _add(self, count: int) -> None:
        specs: list[queue_pb2.TaskSpec] = []
        for _ in range(count):
            known = [*self.added, *(spec.id for spec in specs)]
            specs.append(self._spec(known))
            self._numbers += 1
        request = queue_pb2.AddTasksRequest(project=PROJECT, request_id=self._new_id(), tasks=specs)
        self.added += (await self._insist(self._queue.AddTasks, request)).task_ids

    def _spec(self, known: list[str]) -> queue_pb2.TaskSpec:
        chance, kinds = self._chance, self._plan.kinds
        deps = chance.sample(known, k=min(len(known), chance.choice([0, 0, 1, 2])))
        spec = queue_pb2.TaskSpec(id=f"t{self._numbers}", deps=deps)
        spec.priority = chance.choice([0, 100, 100, 200])
        spec.timeout.CopyFrom(duration(chance.choice([60, 120]) * SECOND))
        if "claims" in kinds and chance.random() < 0.3:
            spec.paths.append(chance.choice(_PATHS))
        if "budgets" in kinds and chance.random() < 0.5:
            spec.budget.CopyFrom(_money(chance.randint(1, _TASK_BUDGET)))
        spec.expects_change = chance.random() < 0.1
        return spec

    async def _set_cap(self, nanos: int) -> None:
        request = ledger_pb2.SetBudgetRequest(
            project=PROJECT, request_id=self._new_id(), scope=_PROJECT_SCOPE, cap=_money(nanos)
        )
        await self._insist(self._ledger.SetBudget, request)

    def _some_task(self) -> list[str]:
        return [self._chance.choice(self.added)] if self.added else []

    async def _cancel(self) -> None:
        """Cancel a task, mostly one that is being worked at or is about to land."""
        query = "SELECT id FROM tasks WHERE state IN (2, 3, 4) ORDER BY id"
        live = [task_id for (task_id,) in self._world.disk("queue").execute(query)]
        tasks = [self._chance.choice(live)] if live and self._chance.random() < 0.8 else []
        request = queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=tasks or self._some_task())
        await self._insist(self._queue.CancelTasks, request)

    async def _claim(self) -> None:
        """Claim something for a while, and never give it back."""
        asked = claims_pb2.ClaimRequest(
            claim_id=self._new_id(),
            resources=[claims_pb2.Resource(path=self._chance.choice(_PATHS))],
            lease=duration(self._chance.randint(1, 10) * SECOND),
        )
        request = claims_pb2.AcquireClaimsRequest(project=PROJECT, holder="op", requests=[asked])
        await self._insist(self._coordinator.AcquireClaims, request)

    async def _drain(self) -> None:
        request = coordinator_pb2.DrainWorkersRequest(
            project=PROJECT,
            workers=[self._chance.choice(self._crew.names)],
            deadline=duration(self._chance.randint(1, 20) * SECOND),
        )
        await self._insist(self._coordinator.DrainWorkers, request)

    async def _kill(self) -> None:
        worker = self._chance.choice(self._crew.names)
        request = coordinator_pb2.KillWorkerRequest(project=PROJECT, worker=worker)
        await self._insist(self._coordinator.KillWorker, request)

    async def _more(self) -> None:
        await self._add(1)

    async def _pause(self) -> None:
        self._to_resume["queue"] = self._resume_queue
        request = queue_pb2.PauseQueueRequest(project=PROJECT, message="lunch")
        await self._insist(self._queue.PauseQueue, request)
        await asyncio.sleep(self._chance.uniform(0, _PAUSE_S))
        await self._resume_queue()

    async def _resume_queue(self) -> None:
        await self._insist(self._queue.ResumeQueue, queue_pb2.ResumeQueueRequest(project=PROJECT))
        del self._to_resume["queue"]

    async def _raise_cap(self) -> None:
        if "budgets" in self._plan.kinds:
            self._cap += _CAP
            await self._set_cap(self._cap)

    async def _reprioritize(self) -> None:
        if self._repository is None:
            return
        request = integrator_pb2.ListChangesRequest(
            project=PROJECT, states=[integrator_pb2.CHANGE_STATE_QUEUED]
        )
        for change in (await self._insist(self._integrator.ListChanges, request)).changes[:1]:
            urgent = integrator_pb2.ReprioritizeChangeRequest(
                project=PROJECT, change_id=change.change_id, urgent=True
            )
            await self._insist(self._integrator.ReprioritizeChange, urgent)

    async def _retry(self) -> None:
        request = queue_pb2.RetryTasksRequest(project=PROJECT, task_ids=self._some_task())
        await self._insist(self._queue.RetryTasks, request)

    async def _stop(self) -> None:
        self._to_resume["project"] = self._resume_project
        stop = coordinator_pb2.StopProjectRequest(project=PROJECT, message="stop")
        await self._insist(self._coordinator.StopProject, stop)
        await asyncio.sleep(self._chance.uniform(0, _PAUSE_S))
        await self._resume_project()

    async def _resume_project(self) -> None:
        resume = coordinator_pb2.ResumeProjectRequest(project=PROJECT)
        await self._insist(self._coordinator.ResumeProject, resume)
        del self._to_resume["project"]

    async def _strategy(self) -> None:
        names = ["capability", "round_robin", "work_stealing"]
        request = coordinator_pb2.SetStrategyRequest(
            project=PROJECT, strategy=self._chance.choice(names)
        )
        await self._insist(self._coordinator.SetStrategy, request)

    async def _hold_merging(self) -> None:
        self._to_resume["merging"] = self._resume_merging
        pause = integrator_pb2.PauseMergingRequest(project=PROJECT, message="wait")
        await self._insist(self._integrator.PauseMerging, pause)
        await asyncio.sleep(self._chance.uniform(0, _PAUSE_S))
        await self._resume_merging()

    async def _resume_merging(self) -> None:
        resume = integrator_pb2.ResumeMergingRequest(project=PROJECT)
        await self._insist(self._integrator.ResumeMerging, resume)
        del self._to_resume["merging"]

    async def _use_repository(self) -> None:
        """Commit to the target as a user does, something red, too, and mend it."""
        assert self._repository is not None
        self._commits += 1
        change = f"user{self._commits}"
        if self._chance.random() < 0.3:
            self._repository.truth.bad.add(change)
        self._to_resume["repository"] = partial(self._mend, change)
        self._repository.user_commits(change)
        await asyncio.sleep(self._chance.uniform(0, _PAUSE_S))
        await self._mend(change)

    async def _mend(self, change: str) -> None:
        assert self._repository is not None
        if not self._repository.truth.is_sound(self._repository.contents[self._repository.at]):
            self._repository.user_reverts(change)
        del self._to_resume["repository"]

    async def _lie(self, queue: Any, name: str) -> None:
        query = "SELECT id, token FROM tasks WHERE token > 0 AND worker != ? ORDER BY id"
        rows = self._world.disk("queue").execute(query, (name,)).fetchall()
        if not rows:
            return
        task_id, token = self._chance.choice(rows)
        ref = common_pb2.AttemptRef(
            task_id=task_id, fencing_token=self._chance.choice([token, token, token + 1])
        )
        lies: list[Any] = [self._fail_other, self._renew_other, self._claim_other, self._fail_ended]
        lies += [self._submit_ended] if self._repository else []
        asked = self._chance.choice(lies)
        self._world.network.inject("lie", f"{asked.__name__} {task_id}@{ref.fencing_token}")
        try:
            believed = await asked(queue, name, ref)
        except CoordError as error:
            self._world.network.note(f"the liar was refused: {error.reason}")
            return
        if believed:
            self._world.network.broken.append(f"a lie about {task_id} was believed")

    async def _fail_other(self, queue: Any, name: str, ref: common_pb2.AttemptRef) -> bool:
        # For a reason that no honest worker gives: to repeat another's report would be no lie.
        failure = queue_pb2.Failure(attempt=ref, reason=queue_pb2.FAILURE_REASON_AGENT_CRASHED)
        request = queue_pb2.FailTasksRequest(project=PROJECT, worker=name, failures=[failure])
        return not (await ask(queue.FailTasks, request)).results[0].HasField("error")

    async def _renew_other(self, queue: Any, name: str, ref: common_pb2.AttemptRef) -> bool:
        request = queue_pb2.RenewLeasesRequest(
            project=PROJECT, worker=name, renewals=[queue_pb2.LeaseRenewal(attempt=ref)]
        )
        directive = (await ask(queue.RenewLeases, request)).results[0].directive
        return bool(directive == queue_pb2.LEASE_DIRECTIVE_CONTINUE)

    async def _fail_ended(self, _: Any, __: str, ref: common_pb2.AttemptRef) -> bool:
        """Report, as a service might that was away for long, on an attempt before this one."""
        query = "SELECT max(attempts.token) FROM attempts JOIN tasks ON number = task WHERE id = ?"
        (token,) = self._world.disk("queue").execute(query, (ref.task_id,)).fetchone()
        ended = common_pb2.AttemptRef(task_id=ref.task_id, fencing_token=token or 10**6)
        failure = queue_pb2.Failure(attempt=ended, reason=queue_pb2.FAILURE_REASON_AGENT_CRASHED)
        request = queue_pb2.FailTasksRequest(project=PROJECT, failures=[failure])
        return not (await self._insist(self._queue.FailTasks, request)).results[0].HasField("error")

    async def _submit_ended(self, *_: Any) -> bool:
        """Submit, likewise, for an attempt that has ended what its worker does since."""
        integrator = self._world.disk("integrator")
        worktrees = integrator.execute("SELECT worker, fence FROM worktrees").fetchall()
        submitted = {name for (name,) in integrator.execute("SELECT change_id FROM changes")}
        query = "SELECT id, attempts.token FROM attempts JOIN tasks ON number = task"
        ended = [
            (worker, task_id, token)
            for worker, fence in worktrees
            for task_id, token in self._world.disk("queue").execute(query)
            if token < fence and f"{task_id}@{token}" not in submitted
        ]
        if not ended:
            return False
        worker, task_id, token = self._chance.choice(ended)
        ref = common_pb2.AttemptRef(task_id=task_id, fencing_token=token)
        request = integrator_pb2.SubmitChangeRequest(project=PROJECT, worker=worker, attempt=ref)
        await self._insist(self._integrator.SubmitChange, request)
        return True

    async def _claim_other(self, _: Any, name: str, ref: common_pb2.AttemptRef) -> bool:
        token = self._world.token(Kind.WORKER, name)
        channel = self._world.network.channel("coordinator", token, Machine(name))
        stub: Any = CoordinatorServiceStub(channel)
        asked = claims_pb2.ClaimRequest(
            claim_id=self._new_id(), resources=[claims_pb2.Resource(path="lies/*")], attempt=ref
        )
        request = claims_pb2.AcquireClaimsRequest(project=PROJECT, holder=name, requests=[asked])
        return (await ask(stub.AcquireClaims, request)).results[0].HasField("claim")


def _money(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency="USD", nanos=nanos)
