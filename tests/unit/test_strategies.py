"""Who gets a task, as a pure choice."""

from typing import Any

from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.strategies import Capability, RoundRobin, Strategy, WorkStealing
from coord_coordinator.workers import Worker, WorkerAttempt

SESSION: Any = None


def worker(name: str, tasks: int = 0, **hello: Any) -> Worker:
    said: dict[str, Any] = {"worker": name, "slots": 4} | hello
    made = Worker(pb.Hello(**said), SESSION, 0, 0, lifecycle=pb.LIFECYCLE_RUNNING)
    for token in range(tasks):
        attempt = common_pb2.AttemptRef(task_id=f"t{token}", fencing_token=token)
        made.attempts[token] = WorkerAttempt(attempt, queue_pb2.TaskSpec(), 0)
    return made


def task(*paths: str, **spec: Any) -> queue_pb2.TaskSpec:
    return queue_pb2.TaskSpec(id="t", paths=paths, **spec)


def choices(strategy: Strategy, spec: queue_pb2.TaskSpec, *workers: Worker) -> list[str]:
    names = []
    for _ in range(2 * len(workers)):
        chosen = strategy.choose(spec, workers)
        assert chosen is not None
        strategy.note(spec, chosen)
        names.append(chosen.name)
    return names


def test_nobody_is_chosen_of_nobody() -> None:
    assert RoundRobin().choose(task(), []) is None


def test_workers_take_turns_whatever_they_have() -> None:
    workers = worker("a", tasks=3), worker("b"), worker("c", tasks=1)
    assert choices(RoundRobin(), task(), *workers) == ["a", "b", "c", "a", "b", "c"]


def test_the_least_loaded_of_those_that_are_as_keen_comes_first_then_equals_in_turn() -> None:
    workers = worker("a", tasks=1), worker("b"), worker("c")
    assert choices(Capability(), task(), *workers) == ["b", "c", "b", "c", "b", "c"]


def test_load_is_the_share_of_the_slots_in_use() -> None:
    workers = worker("small", tasks=1, slots=2), worker("large", tasks=2, slots=8)
    assert choices(Capability(), task(), *workers) == ["large"] * 4


def test_weights_of_the_category_and_of_what_is_required_are_added() -> None:
    both = worker("both", tasks=3, capabilities=["gpu"], preferences={"testing": 0.3, "gpu": 0.3})
    one = worker("one", capabilities=["gpu"], preferences={"testing": 0.5, "prose": 1.0})
    spec = task(category="testing", required_capabilities=["gpu"])
    assert choices(Capability(), spec, both, one) == ["both"] * 4


def test_who_had_the_paths_last_gets_them_again_unless_another_is_keener() -> None:
    strategy = Capability()
    knows, fresh = worker("knows", tasks=2), worker("fresh")
    strategy.note(task("src/a.py"), knows)
    assert choices(strategy, task("src/a.py"), knows, fresh) == ["knows"] * 4
    keen = worker("keen", preferences={"testing": 0.1})
    assert choices(strategy, task("src/a.py", category="testing"), knows, keen) == ["keen"] * 4
    assert choices(strategy, task("src/a.py"), knows, keen) == ["keen"] * 4


def test_tasks_queue_only_where_no_slot_is_free() -> None:
    full = worker("full", tasks=1, slots=1, prefetch=4, preferences={"testing": 1.0})
    idle = worker("idle", slots=1, prefetch=4)
    spec = task(category="testing")
    assert choices(WorkStealing(), spec, full, idle) == ["idle"] * 4
    assert choices(WorkStealing(), spec, full) == ["full"] * 2


def test_a_score_is_explained() -> None:
    keen = worker("keen", tasks=2, preferences={"testing": 0.5})
    why = WorkStealing().why(task("src/a.py", category="testing"), keen)
    assert why == "a free slot, preference 0.5, 0% of its paths known, load 50%"
