"""When a worker that fails is given a rest."""

from coord.times import SECOND
from coord_coordinator.breaker import Breaker

from tests.serving import Clock


def test_who_fails_at_several_tasks_while_others_succeed_gets_a_rest_and_then_one_try() -> None:
    clock = Clock()
    breaker = Breaker(clock.environment())
    breaker.succeed("good")
    assert not breaker.fail("bad", "a")
    breaker.succeed("good")
    assert not breaker.fail("bad", "b")
    assert breaker.fail("bad", "c")
    assert breaker.wait_ns("bad") == 30 * SECOND
    reason = breaker.reason("bad")
    assert reason is not None
    assert reason.code == "BREAKER_OPEN"
    assert "3 times in a row, last at c" in reason.message
    clock.pass_ns(30 * SECOND)
    assert breaker.wait_ns("bad") == 0
    assert breaker.is_trying("bad")
    assert breaker.fail("bad", "d")
    assert breaker.wait_ns("bad") == 60 * SECOND
    assert breaker.succeed("bad")
    assert not breaker.is_trying("bad")
    assert breaker.wait_ns("bad") == 0


def test_where_everybody_fails_it_is_the_tasks() -> None:
    breaker = Breaker(Clock().environment())
    assert not any(breaker.fail(worker, task) for task in "abcdef" for worker in ("one", "two"))


def test_one_task_that_fails_again_and_again_is_not_its_worker() -> None:
    breaker = Breaker(Clock().environment())
    breaker.fail("w", "a")
    breaker.succeed("other")
    assert not any(breaker.fail("w", "a") for _ in range(5))


def test_the_rest_doubles_up_to_ten_minutes() -> None:
    breaker = Breaker(Clock().environment())
    breaker.fail("w", "a")
    breaker.succeed("other")
    for task in "bcdefghij":
        breaker.fail("w", task)
    assert breaker.wait_ns("w") == 600 * SECOND
