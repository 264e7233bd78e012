"""The embedded store: SQLite is the state machine."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from coord.environment import Random
from coord.times import timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Once
from coord_runtime.database import Database, Transaction

from coord_queue import assigning, dependencies, reading, reports
from coord_queue.adding import add_batch
from coord_queue.backoffs import Backoffs
from coord_queue.ready import Wish, is_paused, most_unblocking_first, needs, pauses, ready_tasks
from coord_queue.rows import heads, without_bodies
from coord_queue.schema import ENDED, LIVE, NEVER_NS, Head
from coord_queue.store import Given, LiveAttempt, Page
from coord_queue.tokens import Tokens
from coord_queue.transitions import Moves

R = TypeVar("R")


class _NothingError(Exception):
    """Ends an operation that has done nothing, so that its answer is not remembered."""


class SqliteQueueStore:
    """A `QueueStore` in one SQLite file.

    Args:
        database: The file.
        now_ns: The wall clock.
        chance: Where the jitter of backoffs comes from.
        ageing_ns: How much older makes up for one level of priority.
    """

    def __init__(
        self, database: Database, now_ns: Callable[[], int], chance: Random, ageing_ns: int
    ) -> None:
        self._database = database
        self._now_ns = now_ns
        self._chance = chance
        self._ageing_ns = ageing_ns
        # What every lease asks, and what every move changes, is kept in memory.
        self._counts = database.read(reading.counts)
        self._needs = database.read(needs)
        self._pauses = database.read(pauses)
        self._tokens = Tokens(database.read(reading.newest_token))
        self._live: defaultdict[str, dict[str, Head]] = defaultdict(dict)
        # The workers of live attempts, by the number of the task.
        self._at_work: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for project, number, worker in database.read(reading.at_work):
            self._at_work[project][number] = worker
        self._backoffs = Backoffs(database, now_ns)
        self._given: Given = lambda *_: None

    def listen(self, given: Given) -> None:
        """Have `given` called with the new attempts once they are on disk, wanted or not."""
        self._given = given

    async def add(self, request: pb.AddTasksRequest, once: Once | None) -> pb.AddTasksResponse:
        """Add tasks, all or none."""

        def operation(moves: Moves) -> pb.AddTasksResponse:
            return add_batch(moves, request.tasks, self._ageing_ns)

        return await self._write(request.project, operation, once)

    async def add_dependencies(
        self, request: pb.AddDependenciesRequest, once: Once | None
    ) -> pb.AddDependenciesResponse:
        """Let tasks wait for more tasks, all or none where that would make a cycle."""

        def operation(moves: Moves) -> pb.AddDependenciesResponse:
            return dependencies.add_dependencies(moves, request.dependencies)

        return await self._write(request.project, operation, once)

    async def assign(
        self, request: pb.AssignTasksRequest, once: Once | None
    ) -> pb.AssignTasksResponse:
        """Give named tasks to workers, where they are ready."""
        workers = request.workers or [request.worker] * len(request.task_ids)

        def operation(moves: Moves) -> pb.AssignTasksResponse:
            paused = is_paused(moves.sql, request.project)
            return assigning.assign(moves, workers, request.task_ids, paused=paused)

        return await self._write(request.project, operation, once)

    async def cancel(
        self, request: pb.CancelTasksRequest, once: Once | None
    ) -> pb.CancelTasksResponse:
        """End tasks, and abort their dependents."""

        def operation(moves: Moves) -> pb.CancelTasksResponse:
            return reports.cancel(moves, request.task_ids, request.message)

        return await self._write(request.project, operation, once)

    async def complete(self, request: pb.CompleteTasksRequest) -> pb.CompleteTasksResponse:
        """End attempts with success, and count down their dependents."""
        response = pb.CompleteTasksResponse()
        await self._report(request, request.completions, reports.completions, response)
        return response

    async def end(self, project: str, failures: Sequence[pb.Failure]) -> int:
        """End those attempts that still live, whoever has them; return how many."""

        def operation(moves: Moves) -> int:
            known = moves.heads([one.attempt.task_id for one in failures])
            pairs = [(known.get(one.attempt.task_id), one) for one in failures]
            lost = [
                (head, one)
                for head, one in pairs
                if head and reports.is_live(head, one.attempt, "")
            ]
            moves.fail(lost)
            return len(lost)

        return await self._write(project, operation)

    async def fail(self, request: pb.FailTasksRequest) -> pb.FailTasksResponse:
        """End attempts without success, and decide what follows."""
        response = pb.FailTasksResponse()
        await self._report(request, request.failures, reports.failures, response)
        return response

    async def lease(
        self, request: pb.LeaseTasksRequest, once: Once | None, *, or_nothing: bool = True
    ) -> pb.LeaseTasksResponse:
        """Give the first ready tasks that a worker can do to it."""

        def operation(moves: Moves) -> pb.LeaseTasksResponse:
            most = 0 if is_paused(moves.sql, request.project) else request.max_tasks
            wish = self._wish(request.project, most, frozenset(request.capabilities))
            wish = replace(wish, excluded=request.excluded_paths)
            response = assigning.lease(moves, request.worker, wish)
            if not response.leases and not or_nothing:
                raise _NothingError
            return response

        try:
            return await self._write(request.project, operation, once)
        except _NothingError:
            return pb.LeaseTasksResponse()

    async def pause(self, project: str, message: str) -> None:
        """Give out no tasks any more."""

        def operation(moves: Moves) -> None:
            moves.sql.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?)", (project, message))
            moves.emit(pb.QueueEvent(kind=pb.QUEUE_EVENT_KIND_PAUSED, message=message))
            moves.transaction.committed.append(lambda: self._pauses.update({project: message}))

        await self._write(project, operation)

    async def reassign(
        self, request: pb.ReassignTasksRequest, once: Once | None
    ) -> pb.ReassignTasksResponse:
        """Take assigned tasks from their workers and give them to others."""

        def operation(moves: Moves) -> pb.ReassignTasksResponse:
            return assigning.reassign(moves, request.reassignments)

        return await self._write(request.project, operation, once)

    async def release(self, request: pb.ReleaseTasksRequest) -> pb.ReleaseTasksResponse:
        """End attempts as if they had not been."""
        response = pb.ReleaseTasksResponse()
        await self._report(request, request.releases, reports.releases, response)
        return response

    async def remove(
        self, request: pb.RemoveTasksRequest, once: Once | None
    ) -> pb.RemoveTasksResponse:
        """Forget tasks that nothing waits for."""

        def operation(moves: Moves) -> pb.RemoveTasksResponse:
            return dependencies.remove_tasks(moves, request.task_ids)

        return await self._write(request.project, operation, once)

    async def report_progress(
        self, project: str, worker: str, renewals: Sequence[pb.LeaseRenewal]
    ) -> None:
        """Store the progress of attempts that live, and are the worker's own."""

        def operation(moves: Moves) -> None:
            known = moves.heads([one.attempt.task_id for one in renewals])
            pairs = [(known.get(one.attempt.task_id), one) for one in renewals]
            moves.set_progress(
                (head, one.progress)
                for head, one in pairs
                if head is not None and reports.is_live(head, one.attempt, worker)
            )

        await self._write(project, operation)

    async def resume(self, project: str) -> None:
        """Give out tasks again."""

        def operation(moves: Moves) -> None:
            if moves.sql.execute("DELETE FROM pauses WHERE project = ?", (project,)).rowcount:
                moves.emit(pb.QueueEvent(kind=pb.QUEUE_EVENT_KIND_RESUMED))
            moves.transaction.committed.append(partial(self._pauses.pop, project, None))

        await self._write(project, operation)

    async def retry(
        self, request: pb.RetryTasksRequest, once: Once | None
    ) -> pb.RetryTasksResponse:
        """Make tasks that ended without success PENDING again, and revive their dependents."""

        def operation(moves: Moves) -> pb.RetryTasksResponse:
            return reports.retry(moves, request.task_ids)

        return await self._write(request.project, operation, once)

    async def start(self, request: pb.StartTasksRequest) -> pb.StartTasksResponse:
        """Move attempts to RUNNING."""
        response = pb.StartTasksResponse()
        await self._report(request, request.attempts, reports.starts, response)
        return response

    async def submit(self, request: pb.SubmitTasksRequest) -> pb.SubmitTasksResponse:
        """Move attempts to MERGING."""
        response = pb.SubmitTasksResponse()
        await self._report(request, request.attempts, reports.submissions, response)
        return response

    def remembered(self, once: Once) -> pb.LeaseTasksResponse | None:
        """Return the answer that this call of LeaseTasks has had before; None where it is new."""
        answer = self._database.remembered(once)
        return answer if isinstance(answer, pb.LeaseTasksResponse) else None

    def directives(
        self, project: str, worker: str, attempts: Sequence[common_pb2.AttemptRef]
    ) -> list[pb.LeaseDirective]:
        """Tell, for each attempt, whether it is to go on."""
        ids = [one.task_id for one in attempts]
        known = self._database.read(lambda sql: heads(sql, project, ids))
        return [reports.directive(known.get(one.task_id), one, worker) for one in attempts]

    def live(self) -> list[LiveAttempt]:
        """Return all attempts that live."""
        return self._database.read(reading.live)

    def get(self, project: str, task_id: str) -> pb.Task | None:
        """Return a task with all its attempts."""
        return self._database.read(lambda sql: reading.get(sql, project, task_id))

    def graph_page(self, project: str, after: int, size: int) -> tuple[list[pb.GraphNode], int]:
        """Return tasks in a topological order, and where to go on; 0 at the end."""
        return self._database.read(lambda sql: reading.graph_page(sql, project, after, size))

    def list_page(self, project: str, page: Page) -> tuple[list[pb.Task], int]:
        """Return tasks, and the number after which to go on; 0 at the end."""
        if page.states and LIVE.issuperset(page.states):
            at_work = self._at_work[project].items()
            numbers = sorted(one for one, worker in at_work if page.worker in ("", worker))
            return self._database.read(lambda sql: reading.live_page(sql, page, numbers))
        return self._database.read(lambda sql: reading.list_page(sql, project, page))

    def ready(
        self, project: str, limit: int, after: Sequence[int] = ()
    ) -> tuple[list[pb.TaskSpec], list[int]]:
        """Return the first ready tasks, without bodies, and where to go on; empty at the end."""
        wish = self._wish(project, limit + 1)
        if after:
            wish = replace(wish, after=tuple(after))
        found = self._database.read(lambda sql: ready_tasks(sql, project, wish))
        page = self._database.read(lambda sql: most_unblocking_first(sql, found[:limit]))
        specs = [without_bodies(one.full_spec()) for one in page]
        last = found[limit - 1] if len(found) > limit else None
        return specs, [last.rank_ns, last.head.number] if last else []

    def ready_count(self, project: str) -> int:
        """Return how many tasks could be assigned now; 0 where the queue is paused."""
        free = self._counts[project, pb.TASK_STATE_PENDING, True]
        if not free or project in self._pauses:
            return 0
        return free - self._backoffs.count(project, self._now_ns())

    def next_ready_ns(self, project: str) -> int:
        """Return when the next task in backoff may be assigned; 0 where there is none."""
        return self._backoffs.next_ns(project)

    async def follow_clock(self) -> bool:
        """Let no backoff last longer where the wall clock was set back; return whether one did."""
        return await self._backoffs.follow_clock()

    def pause_message(self, project: str) -> str | None:
        """Return why no tasks are given out; None while they are."""
        return self._pauses.get(project)

    def stats(self, project: str) -> pb.GetQueueStatsResponse:
        """Return the counts, and since when the oldest ready task is."""
        now_ns = self._now_ns()
        counts: Counter[pb.TaskState] = Counter()
        for (owner, state, _), tasks in self._counts.items():
            counts[state] += tasks if owner == project else 0
        ready = self.ready_count(project)
        oldest_ns = self._database.read(lambda sql: reading.oldest_ready_ns(sql, project, now_ns))
        return pb.GetQueueStatsResponse(
            counts=[
                pb.TaskStateCount(state=state, count=counts[state])
                for state in sorted(counts)
                if counts[state]
            ],
            ready=ready,
            ended=sum(counts[state] for state in ENDED),
            oldest_ready_at=timestamp(oldest_ns) if ready and oldest_ns else None,
        )

    def unfinished_deps(
        self, project: str, task_id: str, limit: int
    ) -> list[tuple[str, pb.TaskState]]:
        """Return the first dependencies of a task that are not COMPLETE."""
        return self._database.read(
            lambda sql: reading.unfinished_deps(sql, project, task_id, limit)
        )

    def watch(self, project: str, after: int) -> AsyncIterator[list[pb.QueueEvent]]:
        """Yield events after a number, then new ones as they come."""
        return self._database.watch(project, after, pb.QueueEvent)

    async def close(self) -> None:
        """Close the store."""
        await self._database.close()

    async def _write(
        self, project: str, operation: Callable[[Moves], R], once: Once | None = None
    ) -> R:
        def run(transaction: Transaction) -> R:
            live = self._live[project]
            moves = Moves(transaction, project, self._chance, self._tokens, live)
            result = operation(moves)
            transaction.committed.append(lambda: self._note(project, moves))
            return result

        return await self._database.write(run, once)

    async def _report(
        self,
        request: Any,
        items: Iterable[Any],
        rule: Callable[[Moves, str], reports.Rule],
        response: Any,
    ) -> None:
        def operation(moves: Moves) -> None:
            worker = request.worker
            reports.take(moves, worker, items, rule(moves, worker), response)

        await self._write(request.project, operation)

    def _wish(self, project: str, limit: int, able: frozenset[str] | None = None) -> Wish:
        """Return which tasks are ready now, for workers with these capabilities, or for any."""
        if project in self._pauses:
            return Wish(0, (), 0)
        wanted = [one for one, names in self._needs.items() if able is None or able >= names]
        now_ns = self._now_ns()
        due = self._backoffs.first_ns(project, now_ns) <= now_ns
        return Wish(limit, wanted, now_ns if due else 0)

    def _note(self, project: str, moves: Moves) -> None:
        """Bring what is kept in memory along with an operation that is on disk."""
        for (state, free), tasks in moves.counts.items():
            self._counts[project, state, free] += tasks
        self._needs |= moves.needs
        live, at_work = self._live[project], self._at_work[project]
        for head in moves.moved:
            if head.state in LIVE:
                live[head.id] = head
                at_work[head.number] = head.worker
            else:
                live.pop(head.id, None)
                at_work.pop(head.number, None)
        self._given(moves.given)
        if moves.back_ns < NEVER_NS:
            self._backoffs.note(project, moves.now_ns, moves.back_ns)
