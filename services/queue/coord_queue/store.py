"""What the queue needs of a store: whole operations, each one transaction."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Once


@dataclass(frozen=True)
class Page:
    """Which tasks to list.

    Attributes:
        size: The most tasks.
        after: Go on after the task with this number; 0 from the start.
        states: Only tasks in one of these states; empty for all.
        worker: Only tasks whose newest attempt is this worker's; empty for all.
        labels: Only tasks that have all of these labels.
    """

    size: int
    after: int
    states: Sequence[pb.TaskState]
    worker: str
    labels: dict[str, str]


class LiveAttempt(NamedTuple):
    """An attempt that lives.

    Attributes:
        project: The project.
        task_id: The task.
        token: The fencing token.
        worker: Whose it is.
        ready_ns: Since when its task had been ready, by the wall clock.
        assigned_ns: When it was assigned, by the wall clock.
        started_ns: When it started, by the wall clock; 0 where it has not.
        timeout_ns: The task's timeout; 0 for none.
        submitted: Whether it was handed to the merge queue.
    """

    project: str
    task_id: str
    token: int
    worker: str
    ready_ns: int
    assigned_ns: int
    started_ns: int
    timeout_ns: int
    submitted: bool = False


# Takes new attempts.
Given = Callable[[Sequence[LiveAttempt]], None]


class QueueStore(Protocol):
    """Holds tasks and attempts. Every write answers once it is on disk."""

    def listen(self, given: Given) -> None:
        """Have `given` called with the new attempts once they are on disk, wanted or not."""

    async def add(self, request: pb.AddTasksRequest, once: Once | None) -> pb.AddTasksResponse:
        """Add tasks, all or none."""

    async def add_dependencies(
        self, request: pb.AddDependenciesRequest, once: Once | None
    ) -> pb.AddDependenciesResponse:
        """Let tasks wait for more tasks, all or none where that would make a cycle."""

    async def assign(
        self, request: pb.AssignTasksRequest, once: Once | None
    ) -> pb.AssignTasksResponse:
        """Give named tasks to a worker, where they are ready."""

    async def cancel(
        self, request: pb.CancelTasksRequest, once: Once | None
    ) -> pb.CancelTasksResponse:
        """End tasks, and abort their dependents."""

    async def complete(self, request: pb.CompleteTasksRequest) -> pb.CompleteTasksResponse:
        """End attempts with success, and count down their dependents."""

    async def end(self, project: str, failures: Sequence[pb.Failure]) -> int:
        """End those attempts that still live, whoever has them; return how many."""

    async def fail(self, request: pb.FailTasksRequest) -> pb.FailTasksResponse:
        """End attempts without success, and decide what follows."""

    async def lease(
        self, request: pb.LeaseTasksRequest, once: Once | None, *, or_nothing: bool = True
    ) -> pb.LeaseTasksResponse:
        """Give the first ready tasks that a worker can do to it.

        Args:
            request: The request; its `wait` does not count.
            once: Names the write.
            or_nothing: Whether to remember an answer without tasks.
        """

    async def pause(self, project: str, message: str) -> None:
        """Give out no tasks any more."""

    async def reassign(
        self, request: pb.ReassignTasksRequest, once: Once | None
    ) -> pb.ReassignTasksResponse:
        """Take assigned tasks from their workers and give them to others."""

    async def release(self, request: pb.ReleaseTasksRequest) -> pb.ReleaseTasksResponse:
        """End attempts as if they had not been."""

    async def remove(
        self, request: pb.RemoveTasksRequest, once: Once | None
    ) -> pb.RemoveTasksResponse:
        """Forget tasks that nothing waits for."""

    async def report_progress(
        self, project: str, worker: str, renewals: Sequence[pb.LeaseRenewal]
    ) -> None:
        """Store the progress of attempts that live, and are the worker's own."""

    async def resume(self, project: str) -> None:
        """Give out tasks again."""

    async def retry(
        self, request: pb.RetryTasksRequest, once: Once | None
    ) -> pb.RetryTasksResponse:
        """Make tasks that ended without success PENDING again, and revive their dependents."""

    async def start(self, request: pb.StartTasksRequest) -> pb.StartTasksResponse:
        """Move attempts to RUNNING."""

    async def submit(self, request: pb.SubmitTasksRequest) -> pb.SubmitTasksResponse:
        """Move attempts to MERGING."""

    def remembered(self, once: Once) -> pb.LeaseTasksResponse | None:
        """Return the answer that this call of LeaseTasks has had before; None where it is new."""

    def directives(
        self, project: str, worker: str, attempts: Sequence[common_pb2.AttemptRef]
    ) -> list[pb.LeaseDirective]:
        """Tell, for each attempt, whether it is to go on."""

    def live(self) -> list[LiveAttempt]:
        """Return all attempts that live."""

    def get(self, project: str, task_id: str) -> pb.Task | None:
        """Return a task with all its attempts."""

    def graph_page(self, project: str, after: int, size: int) -> tuple[list[pb.GraphNode], int]:
        """Return tasks in a topological order, and where to go on; 0 at the end."""

    def list_page(self, project: str, page: Page) -> tuple[list[pb.Task], int]:
        """Return tasks, and the number after which to go on; 0 at the end."""

    def ready(
        self, project: str, limit: int, after: Sequence[int] = ()
    ) -> tuple[list[pb.TaskSpec], list[int]]:
        """Return the first ready tasks, without bodies, and where to go on; empty at the end."""

    def ready_count(self, project: str) -> int:
        """Return how many tasks could be assigned now; 0 where the queue is paused."""

    def next_ready_ns(self, project: str) -> int:
        """Return when the next task in backoff may be assigned; 0 where there is none."""

    async def follow_clock(self) -> bool:
        """Let no backoff last longer where the wall clock was set back; return whether one did."""

    def pause_message(self, project: str) -> str | None:
        """Return why no tasks are given out; None while they are."""

    def stats(self, project: str) -> pb.GetQueueStatsResponse:
        """Return the counts, and since when the oldest ready task is."""

    def unfinished_deps(
        self, project: str, task_id: str, limit: int
    ) -> list[tuple[str, pb.TaskState]]:
        """Return the first dependencies of a task that are not COMPLETE."""

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.QueueEvent]]:
        """Yield events after a number, then new ones as they come."""

    async def close(self) -> None:
        """Close the store."""
