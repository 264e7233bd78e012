"""What always holds, whatever was done to a queue."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

from coord.times import timestamp_ns
from coord.v1 import queue_pb2 as pb
from coord_runtime.event_log import events_after
from hypothesis.stateful import invariant

from tests.simulation.queue_model import ARROWS, COMPLETE, LIVE, PENDING, UNSUCCESSFUL, ModelTask
from tests.simulation.queue_world import PROJECT, QueueWorld


class QueueChecks(QueueWorld):
    """Compares all that the queue shows with the model."""

    @invariant()
    def all_is_well(self) -> None:
        self.tasks_are_as_they_should_be()
        self.ready_is_what_could_be_given_out()
        self.counts_are_counted()
        self.at_most_one_attempt_at_a_task_lives()
        self.the_graph_is_in_order()
        self.events_tell_the_whole_story()

    def tasks_are_as_they_should_be(self) -> None:
        pages = self.pages("list_tasks", 20)
        shown = {task.spec.id: task for page in pages for task in page.tasks}
        assert list(shown) == list(self.model.tasks)
        for task_id, task in self.model.tasks.items():
            found = shown[task_id]
            counted = found.state, found.attempts_used, found.workers_lost
            assert counted == (task.state, task.used, task.lost)
            assert found.deps_left == self.model.deps_left(task)
            assert list(found.spec.deps) == task.deps
            self.check_backoff(task, found)

    def check_backoff(self, task: ModelTask, found: pb.Task) -> None:
        not_before_ns = timestamp_ns(found.not_before)
        if task.state != PENDING:
            task.backoff_ns = (0, 0)
        elif task.backoff_ns != (0, 0):
            assert task.backoff_ns[0] <= not_before_ns <= task.backoff_ns[1]
            task.not_before_ns, task.backoff_ns = not_before_ns, (0, 0)
            task.began_ns = timestamp_ns(found.changed_at)
        else:
            assert not_before_ns == task.not_before_ns

    def ready_is_what_could_be_given_out(self) -> None:
        pages = self.pages("list_ready_tasks", 3)
        listed = [spec.id for page in pages for spec in page.tasks]
        # Those of one rank stand in the order of who waits for them, page by page.
        assert sorted(listed) == sorted(self.model.ready(self.now()))
        assert listed == sorted(listed, key=self.model.rank)

    def counts_are_counted(self) -> None:
        stats = self.call("get_queue_stats")
        expected = Counter(task.state for task in self.model.tasks.values())
        assert {one.state: one.count for one in stats.counts} == expected
        assert stats.ready == len(self.model.ready(self.now()))
        assert stats.HasField("oldest_ready_at") == (stats.ready > 0)
        assert stats.ended == sum(expected[state] for state in (COMPLETE, *UNSUCCESSFUL))

    def at_most_one_attempt_at_a_task_lives(self) -> None:
        live = [(one.task_id, one.token) for one in self.service._store.live()]
        tasks = [task for task in self.model.tasks.values() if task.state in LIVE]
        assert sorted(live) == sorted((task.spec.id, task.token) for task in tasks)

    def the_graph_is_in_order(self) -> None:
        done: set[str] = set()
        for page in self.pages("get_dependency_graph", 7):
            for node in page.nodes:
                assert done.issuperset(node.deps)
                deps = self.model.tasks[node.task_id].deps
                assert sorted(node.deps) == sorted(dep for dep in deps if dep in self.model.tasks)
                done.add(node.task_id)
        assert done == self.model.tasks.keys()

    def events_tell_the_whole_story(self) -> None:
        while events := self.database.read(self.events_to_come):
            for event in events:
                assert event.meta.sequence == len(self.events) + 1
                self.replay(event)
                self.events.append(event)
        assert self.told == {task_id: task.state for task_id, task in self.model.tasks.items()}
        assert self.told_paused == (self.model.paused is not None)

    def events_to_come(self, sql: sqlite3.Connection) -> list[pb.QueueEvent]:
        return events_after(sql, PROJECT, len(self.events), pb.QueueEvent)

    def replay(self, event: pb.QueueEvent) -> None:
        """Follow the tasks' states by their events alone."""
        before = self.told.pop(event.task_id, pb.TASK_STATE_UNSPECIFIED)
        assert event.from_state == before
        if event.kind in (pb.QUEUE_EVENT_KIND_PAUSED, pb.QUEUE_EVENT_KIND_RESUMED):
            self.told_paused = event.kind == pb.QUEUE_EVENT_KIND_PAUSED
        elif event.kind == pb.QUEUE_EVENT_KIND_UNSPECIFIED:
            assert (before, event.to_state) in ARROWS
            self.told[event.task_id] = event.to_state
        elif event.kind == pb.QUEUE_EVENT_KIND_DEPENDENCIES_ADDED:
            self.told[event.task_id] = before

    def pages(self, method: str, size: int) -> Iterator[Any]:
        """Yield the pages of a list."""
        token = None
        while token != "":
            page = self.call(method, page_size=size, page_token=token)
            token = page.next_page_token
            yield page
