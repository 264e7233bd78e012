"""What conflicts with others' work lands later, but not for ever."""

from coord.times import SECOND, timestamp
from coord.v1 import integrator_pb2
from coord_integrator.line import in_order


def change(name: str, submitted_s: int, priority: int = 100) -> integrator_pb2.Change:
    submitted = timestamp(submitted_s * SECOND)
    return integrator_pb2.Change(change_id=name, submitted_at=submitted, priority=priority)


def order(changes: list[integrator_pb2.Change], conflicts: dict[str, int]) -> list[str]:
    return [one.change_id for one in in_order(changes, 60 * SECOND, conflicts)]


def test_of_changes_submitted_together_the_one_that_spoils_least_goes_first() -> None:
    waiting = [change("a", 0), change("b", 1), change("c", 2)]
    assert order(waiting, {}) == ["a", "b", "c"]
    assert order(waiting, {"a": 2, "b": 1}) == ["c", "b", "a"]


def test_however_much_it_conflicts_a_change_is_overtaken_by_a_level_of_priority_at_most() -> None:
    waiting = [change("a", 0), change("b", 61), change("c", 0, priority=102)]
    assert order(waiting, {"a": 1_000}) == ["a", "b", "c"]
