"""The queue against its model: every operation, crashes, repeated reports, clocks that jump.

python -m tests.simulation.queue_machine --examples 2000
"""

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from coord.times import SECOND, duration, timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb
from coord_runtime.calls import Call
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.simulation.queue_checks import QueueChecks
from tests.simulation.queue_model import ASSIGNED, LEASE_NS, PENDING
from tests.simulation.queue_world import CALLER, PROJECT

WORKERS = ("w1", "w2")
REASONS = (
    pb.FAILURE_REASON_AGENT_ERROR,
    pb.FAILURE_REASON_CONFLICT,
    pb.FAILURE_REASON_WORKER_LOST,
    pb.FAILURE_REASON_RATE_LIMITED,
    pb.FAILURE_REASON_OUT_OF_BUDGET,
)

pick = st.integers(0, 30)
picks = st.lists(pick, max_size=3)
workers = st.sampled_from(WORKERS)
seen_as = st.sampled_from(("", "", *WORKERS))
flags = st.sampled_from([False, False, False, True])


class QueueMachine(QueueChecks):
    """Everything that can be done to a queue, and what happens to it."""

    # The graph.

    @rule(
        parents=st.lists(picks, min_size=1, max_size=4),
        priority=st.sampled_from((100, 100, 99, 5)),
        able=flags,
        attempts=st.integers(1, 3),
        timeout=flags,
        backwards=flags,
    )
    def add(
        self,
        parents: list[list[int]],
        priority: int,
        able: bool,
        attempts: int,
        timeout: bool,
        backwards: bool,
    ) -> None:
        specs: list[pb.TaskSpec] = []
        for index, numbers in enumerate(parents):
            known = [*self.model.tasks, *(one.id for one in specs)]
            deps = dict.fromkeys(known[-1 - number % len(known)] for number in numbers if known)
            spec = pb.TaskSpec(id=f"t{self.model.added + index}", deps=deps, priority=priority)
            spec.required_capabilities.extend(["gpu"] if able else [])
            spec.paths.extend(["src/*.py"] if index % 2 else [])
            spec.retry_policy.max_attempts = attempts
            if timeout:
                spec.timeout.CopyFrom(duration(2 * SECOND))
            specs.append(spec)
        specs = specs[::-1] if backwards else specs
        response = self.call("add_tasks", tasks=specs)
        assert list(response.task_ids) == [spec.id for spec in specs]
        self.model.add(specs, self.now())

    @rule(number=pick, wrong=st.sampled_from(("CYCLE", "UNKNOWN_DEPENDENCY", "DUPLICATE_TASK")))
    def add_wrongly(self, number: int, wrong: str) -> None:
        good = pb.TaskSpec(id="good")
        bad = {
            "CYCLE": [pb.TaskSpec(id="x", deps=["y"]), pb.TaskSpec(id="y", deps=["x"])],
            "UNKNOWN_DEPENDENCY": [pb.TaskSpec(id="x", deps=["ghost"])],
            "DUPLICATE_TASK": [pb.TaskSpec(id="x"), pb.TaskSpec(id="x")],
        }
        self.refused(wrong, "add_tasks", tasks=[good, *bad[wrong]])
        if self.model.tasks:
            other = pb.TaskSpec(id=self.id_of(number), title="another")
            self.refused("TASK_EXISTS", "add_tasks", tasks=[good, other])

    @precondition(lambda self: self.model.tasks)
    @rule(pairs=st.lists(st.tuples(pick, picks.filter(bool)), min_size=1, max_size=3))
    def add_dependencies(self, pairs: list[tuple[int, list[int]]]) -> None:
        items = [
            pb.TaskDependencies(task_id=self.id_of(one), deps=map(self.id_of, deps))
            for one, deps in pairs
        ]
        before = deepcopy(self.model)
        expected: list[str] = []
        for item in items:
            pending = self.model.tasks[item.task_id].state == PENDING
            expected.append("" if pending else "NOT_PENDING")
            if pending and any(self.model.reaches(dep, item.task_id) for dep in item.deps):
                self.model = before
                self.refused("CYCLE", "add_dependencies", dependencies=items)
                return
            if pending:
                self.model.depend(item.task_id, item.deps)
        response = self.call("add_dependencies", dependencies=items)
        assert [one.error.reason for one in response.results] == expected

    @precondition(lambda self: self.model.tasks)
    @rule(numbers=picks)
    def remove(self, numbers: list[int]) -> None:
        task_ids = [self.id_of(number) for number in numbers]
        expected = self.model.remove(task_ids)
        response = self.call("remove_tasks", task_ids=task_ids)
        assert [one.error.reason for one in response.results] == [
            expected[task_id] for task_id in task_ids
        ]

    # Giving tasks out.

    @rule(worker=workers, most=st.integers(1, 4), able=flags, claimed=flags)
    def lease(self, worker: str, most: int, able: bool, claimed: bool) -> None:
        response = self.call(
            "lease_tasks",
            worker=worker,
            max_tasks=most,
            capabilities=["gpu"] if able else [],
            excluded_paths=["src/"] if claimed else [],
        )
        expected = self.ready_for(able=able, claimed=claimed)
        assert [lease.spec.id for lease in response.leases] == expected[:most]
        self.take(response.leases, worker)

    @rule(worker=workers, other=workers, numbers=picks, most=st.integers(1, 4))
    def assign_while_another_leases(
        self, worker: str, other: str, numbers: list[int], most: int
    ) -> None:
        task_ids = [*dict.fromkeys(map(self.id_of, numbers))]
        ready, expected = self.model.ready(self.now()), self.ready_for(able=True, claimed=False)
        leasing = {"worker": other, "max_tasks": most, "capabilities": ["gpu"]}
        assigned, leased = self.together(
            ("assign_tasks", {"worker": worker, "task_ids": task_ids}), ("lease_tasks", leasing)
        )
        given = [one.lease for one in assigned.results if one.HasField("lease")]
        assert [one.spec.id for one in given] == [one for one in task_ids if one in ready]
        left = [one for one in expected if one not in task_ids]
        assert [one.spec.id for one in leased.leases] == left[:most]
        self.take(given, worker)
        self.take(leased.leases, other)

    @precondition(lambda self: self.model.paused is None)
    @rule(worker=workers)
    def add_while_a_worker_waits(self, worker: str) -> None:
        ready = self.ready_for(able=False, claimed=False)
        spec = pb.TaskSpec(id=f"t{self.model.added}", priority=100)
        spec.retry_policy.max_attempts = 1
        waiting = {"worker": worker, "max_tasks": 1, "wait": duration(SECOND)}
        leased, _ = self.together(("lease_tasks", waiting), ("add_tasks", {"tasks": [spec]}))
        self.model.add([spec], self.now())
        assert [one.spec.id for one in leased.leases] == [*ready, spec.id][:1]
        self.take(leased.leases, worker)

    def ready_for(self, *, able: bool, claimed: bool) -> list[str]:
        """The ready tasks that a worker can do, in their order."""
        specs = {one: self.model.tasks[one].spec for one in self.model.ready(self.now())}
        return [
            task_id
            for task_id, spec in specs.items()
            if (able or not spec.required_capabilities) and not (claimed and spec.paths)
        ]

    def take(self, leases: Iterable[pb.Lease], worker: str) -> None:
        for lease in leases:
            task, token = self.model.tasks[lease.spec.id], lease.attempt.fencing_token
            assert list(lease.spec.deps) == task.deps
            assert lease.attempt.number == len(task.ended) + 1
            assert lease.previous.fencing_token == max(task.ended, default=0)
            self.model.assign(lease.spec.id, token, worker, self.now())
            self.attempts.append((lease.spec.id, token))

    @precondition(lambda self: self.model.tasks)
    @rule(worker=workers, numbers=picks)
    def assign(self, worker: str, numbers: list[int]) -> None:
        task_ids = [*dict.fromkeys(map(self.id_of, numbers)), "ghost"]
        ready = self.model.ready(self.now())
        response = self.call("assign_tasks", worker=worker, task_ids=task_ids)
        given = [one.task_id for one in response.results if one.HasField("lease")]
        assert given == [one for one in task_ids if one in ready]
        self.take((one.lease for one in response.results if one.HasField("lease")), worker)

    @precondition(lambda self: self.attempts)
    @rule(number=pick, worker=workers)
    def reassign(self, number: int, worker: str) -> None:
        attempt = self.attempt(number)
        task = self.model.tasks.get(attempt.task_id)
        item = pb.Reassignment(attempt=attempt, worker=worker)
        result = self.call("reassign_tasks", reassignments=[item]).results[0]
        if task is None:
            assert result.error.reason == "TASK_NOT_FOUND"
        elif not self.model.is_live(attempt):
            assert result.error.reason == "STALE_TOKEN"
        elif task.state != ASSIGNED:
            assert result.error.reason == "HAS_STARTED"
        else:
            now = self.now()
            self.model.fail(task, pb.FAILURE_REASON_RELEASED, now, now)
            self.take([result.lease], worker)

    @rule(paused=flags)
    def pause(self, paused: bool) -> None:
        if paused:
            self.call("pause_queue", message="why")
        else:
            self.call("resume_queue")
        self.model.paused = "why" if paused else None

    # Reports: of live attempts, of lost ones, again, late, by others.

    def report(self, method: str, worker: str, items: Sequence[Any], field: str) -> None:
        """Send a batch of reports; each must go as if it had come alone."""
        kind = method.partition("_")[0]
        expected = [self.model.report(kind, item, worker, self.now()) for item in items]
        response = self.call(method, worker=worker, **{field: items})
        assert [one.error.reason for one in response.results] == expected

    @precondition(lambda self: self.attempts)
    @rule(numbers=picks, worker=seen_as, wrong=flags)
    def start(self, numbers: list[int], worker: str, wrong: bool) -> None:
        refs = [self.attempt(number, wrong=wrong) for number in numbers]
        self.report("start_tasks", worker, refs, "attempts")

    @precondition(lambda self: self.attempts)
    @rule(numbers=picks, worker=seen_as, wrong=flags)
    def submit(self, numbers: list[int], worker: str, wrong: bool) -> None:
        refs = [self.attempt(number, wrong=wrong) for number in numbers]
        self.report("submit_tasks", worker, refs, "attempts")

    @precondition(lambda self: self.attempts)
    @rule(numbers=picks, worker=seen_as, wrong=flags)
    def complete(self, numbers: list[int], worker: str, wrong: bool) -> None:
        done = [pb.Completion(attempt=self.attempt(one, wrong=wrong)) for one in numbers]
        self.report("complete_tasks", worker, done, "completions")

    @rule()
    def complete_all_that_live(self) -> None:
        live = [one for one in self.service._store.live() if one.project == PROJECT]
        done = [
            pb.Completion(
                attempt=common_pb2.AttemptRef(task_id=one.task_id, fencing_token=one.token)
            )
            for one in live
        ]
        self.report("complete_tasks", "", done, "completions")

    @precondition(lambda self: self.attempts)
    @rule(
        numbers=picks,
        worker=seen_as,
        wrong=flags,
        reason=st.sampled_from(REASONS),
        later=flags,
    )
    def fail(
        self,
        numbers: list[int],
        worker: str,
        wrong: bool,
        reason: pb.FailureReason,
        later: bool,
    ) -> None:
        until = timestamp(self.now().wall_ns + 20 * SECOND) if later else None
        failures = [
            pb.Failure(attempt=self.attempt(one, wrong=wrong), reason=reason, not_before=until)
            for one in numbers
        ]
        self.report("fail_tasks", worker, failures, "failures")

    @precondition(lambda self: self.attempts)
    @rule(numbers=picks, worker=seen_as, wrong=flags)
    def release(self, numbers: list[int], worker: str, wrong: bool) -> None:
        releases = [pb.Release(attempt=self.attempt(one, wrong=wrong)) for one in numbers]
        self.report("release_tasks", worker, releases, "releases")

    @precondition(lambda self: self.attempts)
    @rule(number=pick, worker=seen_as, told=flags)
    def renew(self, number: int, worker: str, told: bool) -> None:
        attempt = self.attempt(number)
        progress = common_pb2.Progress(summary="half way") if told else None
        renewal = pb.LeaseRenewal(attempt=attempt, progress=progress)
        response = self.call("renew_leases", worker=worker, renewals=[renewal])
        task = self.model.tasks.get(attempt.task_id)
        if self.model.is_live(attempt, worker) and task is not None:
            assert response.results[0].directive == pb.LEASE_DIRECTIVE_CONTINUE
            task.expires_ns = self.now().monotonic_ns + LEASE_NS
            return
        cancelled = task is not None and task.state == pb.TASK_STATE_CANCELLED
        if task is not None and cancelled and task.token == attempt.fencing_token:
            assert response.results[0].directive == pb.LEASE_DIRECTIVE_CANCEL
        else:
            assert response.results[0].directive == pb.LEASE_DIRECTIVE_REVOKE

    # The operator's word.

    @precondition(lambda self: self.model.tasks)
    @rule(numbers=picks)
    def cancel(self, numbers: list[int]) -> None:
        task_ids = [self.id_of(number) for number in numbers]
        expected = [self.model.cancel(task_id) for task_id in task_ids]
        response = self.call("cancel_tasks", task_ids=task_ids)
        assert [one.error.reason for one in response.results] == expected

    @precondition(lambda self: self.model.tasks)
    @rule(numbers=picks)
    def retry(self, numbers: list[int]) -> None:
        task_ids = [self.id_of(number) for number in numbers]
        expected = [self.model.retry(task_id) for task_id in task_ids]
        response = self.call("retry_tasks", task_ids=task_ids)
        assert [one.error.reason for one in response.results] == expected

    # The world.

    @rule(seconds=st.sampled_from((1, 2, 5, 9, 15, 70)))
    def pass_time(self, seconds: int) -> None:
        since = self.now()

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await self.service._leases.expire_due()

        self.run(wait())
        # All times are whole seconds, and the service looks each second.
        self.model.follow_clock(since.wall_ns + SECOND)
        self.model.expire(since, self.now())

    @rule(seconds=st.sampled_from((-600, -30, 30, 600)))
    def jump(self, seconds: int) -> None:
        self.jumped_ns += seconds * SECOND

    @precondition(lambda self: self.answered)
    @rule(number=pick)
    def repeat(self, number: int) -> None:
        """A write that names itself comes again, perhaps after a restart."""
        method, request, response = self.answered[-1 - number % len(self.answered)]
        again = self.run(self.handle(method, request))
        assert _without_expiry(again) == _without_expiry(response)

    @rule(ticks=st.integers(0, 3), number=pick)
    def crash(self, ticks: int, number: int) -> None:
        """The process dies while a write is under way, and another one takes over."""
        deps = [self.id_of(number)] if self.model.tasks else []
        spec = pb.TaskSpec(id=f"t{self.model.added}", deps=deps, priority=100)
        request = pb.AddTasksRequest(project=PROJECT, tasks=[spec])
        adding = self.service.add_tasks(request, Call(CALLER, "AddTasks"))
        acknowledged = self.run(self.die(adding, ticks))
        self.run(self.open())
        self.model.restart(self.now())
        stored = self.service._store.get(PROJECT, spec.id)
        if stored:
            self.model.add([spec], self.now())
        assert stored or not acknowledged


def _without_expiry(response: Any) -> Any:
    """Return an answer without the ends of its leases, which move."""
    for one in getattr(response, "leases", ()):
        one.attempt.ClearField("lease_expires_at")
    for one in getattr(response, "results", ()):
        if isinstance(one, pb.AssignTasksResult) and one.HasField("lease"):
            one.lease.attempt.ClearField("lease_expires_at")
    return response


def check(examples: int, steps: int, *, derandomize: bool) -> None:
    """Run the machine.

    Args:
        examples: How many histories.
        steps: The most steps of each.
        derandomize: Whether to take the same histories each time.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        database=None,
    )
    run_state_machine_as_test(QueueMachine, settings=chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    check(arguments.examples, arguments.steps, derandomize=False)


if __name__ == "__main__":
    main()
