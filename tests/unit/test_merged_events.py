"""The order of the merged stream."""

from typing import Any

from coord.v1 import common_pb2, integrator_pb2, queue_pb2
from coord_coordinator.events import Merger, format_cursor, parse_cursor
from hypothesis import given
from hypothesis import strategies as st

SERVICES = ("coordinator", "integrator", "ledger", "limiter", "queue")


def queue_event(sequence: int, cause: int = 0) -> queue_pb2.QueueEvent:
    event = queue_pb2.QueueEvent(task_id=f"t{sequence}", to_state=queue_pb2.TASK_STATE_COMPLETE)
    event.meta.sequence = sequence
    if cause:
        event.meta.cause.CopyFrom(common_pb2.EventRef(service="integrator", sequence=cause))
    return event


def integrator_event(sequence: int) -> integrator_pb2.IntegratorEvent:
    event = integrator_pb2.IntegratorEvent()
    event.meta.sequence = sequence
    event.worktree_removed.worker = "w"
    return event


@given(st.data())
def test_a_cause_is_sent_before_its_effect_and_nothing_is_held_for_ever(data: Any) -> None:
    landings = data.draw(st.integers(1, 8))
    causes = sorted(data.draw(st.lists(st.integers(0, landings), max_size=12)))
    queue = [queue_event(number, cause) for number, cause in enumerate(causes, 1)]
    integrator = [integrator_event(number) for number in range(1, landings + 1)]
    merger = Merger(dict.fromkeys(SERVICES, 0))
    sent: list[Any] = []
    while queue or integrator:
        source = data.draw(st.sampled_from([one for one in (queue, integrator) if one]))
        name = "queue" if source is queue else "integrator"
        sent += merger.add(name, source.pop(0))
    landed = 0
    numbers = []
    for event in sent:
        if event.HasField("integrator"):
            landed = event.integrator.meta.sequence
        else:
            assert event.queue.meta.cause.sequence <= landed
            numbers.append(event.queue.meta.sequence)
    assert numbers == list(range(1, len(causes) + 1))
    assert landed == landings


def test_a_cursor_says_where_each_service_was() -> None:
    numbers = {name: number for number, name in enumerate(SERVICES)}
    assert parse_cursor(format_cursor(numbers)) == numbers
    assert parse_cursor("") == dict.fromkeys(SERVICES, 0)
