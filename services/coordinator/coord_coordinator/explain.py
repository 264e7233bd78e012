"""Why a task is not running: the queue's reasons, and what the coordinator adds."""

from collections.abc import Callable

from coord.errors import CoordError
from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.globs import Comparison

from coord_coordinator.claims import Claims
from coord_coordinator.delivery import declared
from coord_coordinator.dispatch import Dispatch
from coord_coordinator.fitness import hindrance, misfit
from coord_coordinator.fleet import Fleet
from coord_coordinator.money import Money
from coord_coordinator.obstacles import Obstacles
from coord_coordinator.services import Services
from coord_coordinator.workers import Worker

_CANDIDATES_MAX = 100

_CHANGE_CODES = {
    integrator_pb2.CHANGE_STATE_QUEUED: ("CHANGE_QUEUED", "its change waits for its turn"),
    integrator_pb2.CHANGE_STATE_CHECKING: ("CHANGE_CHECKING", "its merged tree is under check"),
    integrator_pb2.CHANGE_STATE_LANDING: ("CHANGE_CHECKING", "its merged tree is green and lands"),
}
_AT_WORK = frozenset({queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING})
_OPEN = _AT_WORK | {queue_pb2.TASK_STATE_MERGING, queue_pb2.TASK_STATE_PENDING}
_HELD_BACK = frozenset({"CLAIMED", "OTHER_TARGET"})
_RESUMING = (("operator", "`coord merge resume`"), ("stop", "`coord resume`"))
_START = "`coord run` with its plan starts them and goes on, and so does `coord up`"


class Explainer:
    """Composes the reasons of all services."""

    def __init__(
        self,
        fleet: Fleet,
        services: Services,
        dispatch: Dispatch,
        money: Money,
        claims: Claims,
        *,
        obstacles: Obstacles,
        has_repository: bool,
        is_idle: Callable[[], bool],
        full_disk: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._project = fleet.project
        self._has_repository = has_repository
        self._is_idle, self._full_disk = is_idle, full_disk
        self._services = services
        self._dispatch = dispatch
        self._obstacles = obstacles
        self._claims = claims
        self._money = money

    async def explain(self, task_id: str) -> pb.ExplainDispatchResponse:
        """Explain one task.

        Raises:
            CoordError: NOT_FOUND with reason TASK_NOT_FOUND.
        """
        request = queue_pb2.ExplainTaskRequest(project=self._project, task_id=task_id)
        answer = await self._services.ask(self._services.queue.ExplainTask, request)
        reasons, candidates = list(answer.reasons), []
        if any(reason.code == "READY" for reason in reasons):
            spec = (await self._task(task_id)).spec
            reasons = await self._ready(spec)
            candidates = await self._candidates(spec, reasons)
        elif answer.state == queue_pb2.TASK_STATE_MERGING:
            reasons = await self._merging(task_id)
        if answer.state in _OPEN and self._is_idle():
            reasons = _idle(answer.state, reasons)
        if answer.state in _OPEN and (full := await self._full()) and not self._at_work(task_id):
            reasons = [full, *reasons]
        return pb.ExplainDispatchResponse(
            state=answer.state,
            reasons=reasons,
            candidates=candidates,
            strategy=self._dispatch.strategy.name,
        )

    async def _full(self) -> common_pb2.Reason | None:
        """Return whose disk is full: where nothing can be stored, nothing goes on."""
        if full := self._full_disk():
            return common_pb2.Reason(code="DISK_FULL", message=full)
        if not self._has_repository:
            return None
        return await self._services.full_repository(self._project)

    def _at_work(self, task_id: str) -> bool:
        """Tell whether an agent works on a task: it needs no room to come to its end."""
        return any(
            attempt.ref.task_id == task_id and attempt.started and not attempt.ending
            for worker in self._fleet.workers.values()
            for attempt in worker.attempts.values()
            if worker.connected
        )

    async def _ready(self, spec: queue_pb2.TaskSpec) -> list[common_pb2.Reason]:
        held = self._dispatch.held.get(spec.id)
        if self._is_idle():
            shortage = await self._money.shortage(spec)
            return [] if shortage is None else [shortage]
        now = self._obstacles.find(spec, queues=self._dispatch.strategy.queues)
        if now.code == "NO_WORKER" and self._has_repository:
            now.message += await self._before_workers()
        return [now if held is None or now.code != "READY" else held]

    async def _before_workers(self) -> str:
        """Say what a run waits for before it starts workers; nothing where there is no such."""
        trials = (await self._changes()).merge_queue.trials
        if all(trial.change_ids for trial in trials):
            return ""
        return "; the check runs on the target alone: a run starts its workers after it"

    async def _candidates(
        self, spec: queue_pb2.TaskSpec, reasons: list[common_pb2.Reason]
    ) -> list[pb.Candidate]:
        """Tell who could run a ready task, those first who can be given it now.

        Args:
            spec: The task.
            reasons: What holds it back: at the worker which suits it best, and at all others of
                which there is nothing of their own to tell.
        """
        strategy = self._dispatch.strategy
        held = next((one for one in reasons if one.code != "READY"), None)
        found, comparison = [], Comparison()
        for worker in strategy.ranked(spec, self._fleet.workers.values()):
            why_not = self._why_not(worker, spec, comparison)
            if held is not None and why_not is None:
                why_not = await self._money.shortage(spec, worker.name) or held
            why = why_not or common_pb2.Reason(code="ELIGIBLE", message=strategy.why(spec, worker))
            score = strategy.score(spec, worker)
            found.append(
                pb.Candidate(worker=worker.name, eligible=why_not is None, reason=why, score=score)
            )
        return sorted(found, key=lambda one: not one.eligible)[:_CANDIDATES_MAX]

    def _why_not(
        self, worker: Worker, spec: queue_pb2.TaskSpec, comparison: Comparison
    ) -> common_pb2.Reason | None:
        return (
            misfit(worker, spec)
            or hindrance(self._fleet, worker, queues=self._dispatch.strategy.queues)
            or (self._claims.obstacle(declared(spec, worker), comparison) if spec.paths else None)
            or self._dispatch.limit(worker)
        )

    async def _merging(self, task_id: str) -> list[common_pb2.Reason]:
        token = (await self._task(task_id)).attempts[-1].fencing_token
        integrator = self._services.integrator
        changes = await self._changes()
        reasons = []
        if changes.merge_queue.HasField("paused"):
            paused = changes.merge_queue.paused
            metadata = {"cause": paused.code, **paused.metadata}
            message = f"merging is paused: {paused.message}{_way_out(paused)}"
            reasons.append(
                common_pb2.Reason(code="MERGING_PAUSED", message=message, metadata=metadata)
            )
        try:
            found = await self._services.ask(
                integrator.ExplainChange,
                integrator_pb2.ExplainChangeRequest(
                    project=self._project, change_id=f"{task_id}@{token}"
                ),
            )
        except CoordError as error:
            return [*reasons, common_pb2.Reason(code="MERGING", message=error.message)]
        reasons += [one for one in found.reasons if one.code in _HELD_BACK]
        code, message = _CHANGE_CODES.get(found.change.state, ("MERGING", found.change.message))
        return [*reasons, common_pb2.Reason(code=code, message=message)]

    async def _changes(self) -> integrator_pb2.ListChangesResponse:
        request = integrator_pb2.ListChangesRequest(project=self._project, page_size=1)
        return await self._services.ask(self._services.integrator.ListChanges, request)

    async def _task(self, task_id: str) -> queue_pb2.Task:
        request = queue_pb2.GetTaskRequest(project=self._project, task_id=task_id)
        return (await self._services.ask(self._services.queue.GetTask, request)).task


def _way_out(paused: common_pb2.Reason) -> str:
    """Say what ends a pause that somebody has asked for; its metadata has who."""
    holders = paused.metadata if paused.code == "PAUSED" else ()
    commands = [command for holder, command in _RESUMING if holder in holders]
    return f"; it goes on with {' and '.join(commands)}" if commands else ""


def _idle(state: queue_pb2.TaskState, reasons: list[common_pb2.Reason]) -> list[common_pb2.Reason]:
    """Add that nobody runs; what the queue knows of an attempt at work is not true any more."""
    message = f"no services run for this project, so nothing goes on: {_START}"
    if state in _AT_WORK:
        message = f"its attempt was cut off, and no services run for this project: {_START}"
    known = [] if state in _AT_WORK else reasons
    return [*known, common_pb2.Reason(code="NOT_RUNNING", message=message)]
