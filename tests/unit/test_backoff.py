"""For how long workers wait since their provider has said so."""

from typing import Any

import pytest
from coord.times import SECOND
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.backoff import Backoff
from coord_coordinator.workers import Worker

from tests.serving import Clock

SESSION: Any = None


def worker(name: str, provider: str = "") -> Worker:
    return Worker(pb.Hello(worker=name, provider=provider, slots=1), SESSION, 0, 0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backoff(clock: Clock) -> Backoff:
    return Backoff(clock.environment())


ONE, TWO, OTHER = worker("one", "claude"), worker("two", "claude"), worker("other", "codex")


def test_a_limit_holds_for_its_provider_alone_and_for_an_hour_at_most(
    clock: Clock, backoff: Backoff
) -> None:
    assert backoff.limit(ONE, clock.wall_ns + 7200 * SECOND)
    assert backoff.wait_ns(TWO) == 3600 * SECOND
    assert backoff.wait_ns(OTHER) == 0


def test_a_later_limit_prolongs_the_wait_and_an_earlier_one_does_not_shorten_it(
    clock: Clock, backoff: Backoff
) -> None:
    backoff.limit(ONE, clock.wall_ns + 20 * SECOND)
    assert not backoff.limit(TWO, clock.wall_ns + 10 * SECOND)
    assert backoff.wait_ns(ONE) == 20 * SECOND
    assert not backoff.limit(TWO, clock.wall_ns + 30 * SECOND)
    assert backoff.wait_ns(ONE) == 30 * SECOND


def test_after_a_limit_one_more_tries_every_five_seconds_until_there_is_an_answer(
    clock: Clock, backoff: Backoff
) -> None:
    backoff.limit(ONE, clock.wall_ns + 20 * SECOND)
    clock.pass_ns(20 * SECOND)
    assert backoff.wait_ns(TWO) == 0
    backoff.begin(ONE)
    assert backoff.wait_ns(TWO) == 5 * SECOND
    assert not backoff.pass_probe(TWO)
    assert not backoff.pass_probe(OTHER)
    assert backoff.pass_probe(ONE)
    assert backoff.wait_ns(TWO) == 0
    assert backoff.is_clear


def test_a_limit_that_a_try_has_met_holds_again_for_as_long_as_it_says(
    clock: Clock, backoff: Backoff
) -> None:
    backoff.limit(ONE, clock.wall_ns + 20 * SECOND)
    clock.pass_ns(20 * SECOND)
    backoff.begin(ONE)
    assert backoff.limit(ONE, clock.wall_ns + 3 * SECOND)
    assert backoff.wait_ns(TWO) == 3 * SECOND


def test_the_limits_of_who_is_not_known_any_more_are_forgotten(
    clock: Clock, backoff: Backoff
) -> None:
    alone = worker("alone")
    for one in (ONE, OTHER, alone):
        backoff.limit(one, clock.wall_ns + 20 * SECOND)
    for one in (ONE, OTHER, alone):
        backoff.forget(one, [TWO])
    assert [backoff.wait_ns(one) for one in (ONE, OTHER, alone)] == [20 * SECOND, 0, 0]
