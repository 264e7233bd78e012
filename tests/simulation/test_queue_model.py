"""The short form of `make model-queue`: the same histories each time, and what it has found."""

from collections.abc import Callable, Iterator

import pytest
from coord.v1 import queue_pb2 as pb

from tests.simulation.queue_machine import QueueMachine, check


@pytest.fixture
def queue() -> Iterator[QueueMachine]:
    machine = QueueMachine()
    yield machine
    machine.teardown()


def fail_once(queue: QueueMachine) -> None:
    """Let the first attempt at a new task fail."""
    queue.add(parents=[[]], priority=100, able=False, attempts=3, timeout=False, backwards=False)
    queue.lease(worker="w1", most=1, able=False, claimed=False)
    queue.fail(
        numbers=[0], worker="w1", wrong=False, reason=pb.FAILURE_REASON_AGENT_ERROR, later=False
    )


def step(queue: QueueMachine, do: Callable[[int], None], seconds: int) -> None:
    do(seconds)
    queue.all_is_well()


def test_the_queue_does_what_its_model_does() -> None:
    check(examples=40, steps=40, derandomize=True)


def test_a_backoff_that_began_in_the_future_begins_anew(queue: QueueMachine) -> None:
    fail_once(queue)
    queue.all_is_well()
    step(queue, queue.pass_time, 1)
    step(queue, queue.jump, -600)
    step(queue, queue.pass_time, 1)


def test_a_backoff_that_began_in_the_future_between_two_looks_begins_anew(
    queue: QueueMachine,
) -> None:
    step(queue, queue.pass_time, 1)
    step(queue, queue.jump, 600)
    fail_once(queue)
    queue.all_is_well()
    step(queue, queue.jump, -600)
    step(queue, queue.pass_time, 1)
