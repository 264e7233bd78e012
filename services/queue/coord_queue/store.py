"""What the queue needs of a store: whole operations, each one transaction."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class QueueStore(Protocol):
    """Holds tasks and attempts. Every write answers once it is on disk."""

    async def add(
        self, project: str, specs: Sequence[pb.TaskSpec], once: Once | None
    ) -> pb.AddTasksResponse:
        """Add tasks, all or none."""

    async def assign(
        self, project: str, worker: str, task_ids: Sequence[str], once: Once | None
    ) -> pb.AssignTasksResponse:
        """Give named tasks to a worker, where they are ready."""

    async def cancel(
        self, project: str, task_ids: Sequence[str], message: str, once: Once | None
    ) -> pb.CancelTasksResponse:
        """End tasks, and abort their dependents."""

    async def complete(self, request: pb.CompleteTasksRequest) -> list[pb.ReportResult]:
        """End attempts with success, and count down their dependents."""

    async def expire(self, project: str, tokens: Sequence[int]) -> int:
        """End those attempts that still live, their workers lost; return how many."""

    async def fail(self, request: pb.FailTasksRequest) -> list[pb.ReportResult]:
        """End attempts without success, and decide what follows."""

    async def lease(
        self,
        project: str,
        worker: str,
        max_tasks: int,
        capabilities: frozenset[str],
        once: Once | None,
    ) -> pb.LeaseTasksResponse:
        """Give the first ready tasks that need no more than `capabilities` to a worker."""

    async def release(self, request: pb.ReleaseTasksRequest) -> list[pb.ReportResult]:
        """End attempts as if they had not been."""

    async def report_progress(self, project: str, renewals: Sequence[pb.LeaseRenewal]) -> None:
        """Store the progress of attempts that live."""

    async def retry(
        self, project: str, task_ids: Sequence[str], once: Once | None
    ) -> pb.RetryTasksResponse:
        """Make ended tasks PENDING again, and revive their dependents."""

    async def start(self, request: pb.StartTasksRequest) -> list[pb.ReportResult]:
        """Move attempts to RUNNING."""

    async def submit(self, request: pb.SubmitTasksRequest) -> list[pb.ReportResult]:
        """Move attempts to MERGING."""

    def directives(
        self, project: str, worker: str, renewals: Sequence[pb.LeaseRenewal]
    ) -> list[pb.LeaseDirective]:
        """Tell, for each attempt, whether it is to go on."""

    def live(self) -> list[tuple[str, int]]:
        """Return project and fencing token of every attempt that lives."""

    def get(self, project: str, task_id: str) -> pb.Task | None:
        """Return a task with all its attempts."""

    def list_page(self, project: str, page: Page) -> tuple[list[pb.Task], int]:
        """Return tasks, and the number after which to go on; 0 at the end."""

    def ready(self, project: str, limit: int) -> list[pb.TaskSpec]:
        """Return the most urgent ready tasks, without prompts and payloads."""

    def next_ready_ns(self, project: str) -> int:
        """Return when the next task in backoff may be assigned; 0 where there is none."""

    def stats(self, project: str) -> pb.GetQueueStatsResponse:
        """Return the counts."""

    def unfinished_deps(self, project: str, task_id: str) -> list[tuple[str, pb.TaskState]]:
        """Return the dependencies of a task that are not COMPLETE."""

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.QueueEvent]]:
        """Yield events after a number, then new ones as they come."""

    async def close(self) -> None:
        """Close the store."""
