"""What a run looks like at one moment, collected from the services."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coord.times import timestamp_ns
from coord.v1 import (
    coordinator_pb2,
    integrator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)

from coord_cli.command import Services
from coord_cli.plan import RUN_LABEL
from coord_cli.plan_graph import levels
from coord_cli.plan_specs import run_scope

FINAL = frozenset(
    {
        queue_pb2.TASK_STATE_COMPLETE,
        queue_pb2.TASK_STATE_FAILED,
        queue_pb2.TASK_STATE_CANCELLED,
        queue_pb2.TASK_STATE_ABORTED,
    }
)
WORKING = frozenset({queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING})
MOVING = (
    integrator_pb2.CHANGE_STATE_QUEUED,
    integrator_pb2.CHANGE_STATE_CHECKING,
    integrator_pb2.CHANGE_STATE_LANDING,
)
_PAGE = 1_000


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment.

    Attributes:
        run: Its name.
        tasks: Its tasks in the order in which they were added, prompts left out.
        workers: The project's workers.
        changes: The changes that wait to land or are on their way.
        merge_queue: The merge queue as a whole.
        balance: What the run has cost, and its cap.
        buckets: The project's rate limits.
    """

    run: str
    tasks: Sequence[queue_pb2.Task]
    workers: Sequence[coordinator_pb2.Worker]
    changes: Sequence[integrator_pb2.Change]
    merge_queue: integrator_pb2.MergeQueue
    balance: ledger_pb2.Balance
    buckets: Sequence[limiter_pb2.Bucket]

    @property
    def counts(self) -> Mapping[queue_pb2.TaskState, int]:
        """How many tasks are in each state."""
        return Counter(task.state for task in self.tasks)

    @property
    def open(self) -> list[queue_pb2.Task]:
        """The tasks that have not ended."""
        return [task for task in self.tasks if task.state not in FINAL]

    @property
    def finished(self) -> bool:
        """Whether every task has ended."""
        return not self.open

    @property
    def all_landed(self) -> bool:
        """Whether every task is COMPLETE."""
        return all(task.state == queue_pb2.TASK_STATE_COMPLETE for task in self.tasks)


async def take(services: Services, run: str, chosen: Collection[str] | None = None) -> Snapshot:
    """Ask the services how a run goes, or how the chosen ones of its tasks do."""
    project = services.project
    workers = await services.coordinator.ListWorkers(
        coordinator_pb2.ListWorkersRequest(project=project)
    )
    changes = await services.integrator.ListChanges(
        integrator_pb2.ListChangesRequest(project=project, page_size=_PAGE, states=MOVING)
    )
    balance = await services.ledger.GetBalance(
        ledger_pb2.GetBalanceRequest(project=project, scope=run_scope(run))
    )
    buckets = await services.limiter.ListBuckets(
        limiter_pb2.ListBucketsRequest(project=project, page_size=_PAGE)
    )
    tasks = await tasks_of(services, labels={RUN_LABEL: run})
    return Snapshot(
        run,
        [task for task in tasks if chosen is None or task.spec.id in chosen],
        workers.workers,
        changes.changes,
        changes.merge_queue,
        balance.balance,
        buckets.buckets,
    )


async def tasks_of(
    services: Services,
    *,
    labels: Mapping[str, str] | None = None,
    states: Sequence[queue_pb2.TaskState] = (),
    worker: str = "",
) -> list[queue_pb2.Task]:
    """Return all tasks that fit, prompts left out."""
    tasks: list[queue_pb2.Task] = []
    token = ""
    while True:
        request = queue_pb2.ListTasksRequest(
            project=services.project,
            page_size=_PAGE,
            page_token=token,
            labels=labels,
            states=states,
            worker=worker,
        )
        page = await services.queue.ListTasks(request)
        tasks += page.tasks
        token = page.next_page_token
        if not token:
            return tasks


def attempt_length_ns(task: queue_pb2.Task, now_ns: int) -> int:
    """Return how long a task's newest attempt has run, or ran; 0 where it has not begun."""
    if not task.attempts or not task.attempts[-1].HasField("started_at"):
        return 0
    attempt = task.attempts[-1]
    end_ns = timestamp_ns(attempt.ended_at) or now_ns
    return max(end_ns - timestamp_ns(attempt.started_at), 0)


def time_left_ns(snapshot: Snapshot, now_ns: int) -> int | None:
    """Estimate how long the run will take from now; None while nothing is known.

    The mean time from start to landing, times the larger of two counts: open tasks a worker, and
    the longest chain of open tasks that wait for one another; less what is under way has run.
    """
    lengths = [
        attempt_length_ns(task, now_ns)
        for task in snapshot.tasks
        if task.state == queue_pb2.TASK_STATE_COMPLETE
    ]
    if not lengths or snapshot.finished:
        return None
    slots = sum(worker.slots for worker in snapshot.workers if worker.connected) or 1
    depths = levels({task.spec.id: task.spec.deps for task in snapshot.open})
    rounds = max(len(snapshot.open) / slots, *depths.values())
    mean_ns = sum(lengths) / len(lengths)
    return round(max(mean_ns * rounds - min(_age_ns(snapshot, now_ns), mean_ns), 0))


def _age_ns(snapshot: Snapshot, now_ns: int) -> float:
    """Return how long the attempts that are under way have run, in the mean."""
    ages = [attempt_length_ns(task, now_ns) for task in snapshot.tasks if task.state in WORKING]
    return sum(ages) / len(ages) if ages else 0
