"""The short form of `make model-queue`: the same histories each time."""

from tests.simulation.queue_machine import check


def test_the_queue_does_what_its_model_does() -> None:
    check(examples=40, steps=40, derandomize=True)
