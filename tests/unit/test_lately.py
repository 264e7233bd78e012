"""What is remembered for a while."""

from coord.times import SECOND
from coord_coordinator.lately import Lately

from tests.serving import Clock


def test_what_was_noted_is_known_for_as_long_and_what_is_noted_again_for_longer() -> None:
    clock = Clock()
    lately: Lately[str, int] = Lately(clock.environment(), 5 * SECOND)
    lately.note("a", 1)
    lately.note("b", 2)
    clock.pass_ns(4 * SECOND)
    lately.note("a", 3)
    clock.pass_ns(SECOND)
    assert [lately.get(one) for one in "abc"] == [3, None, None]
    lately.forget("a")
    lately.forget("never")
    assert lately.get("a") is None


def test_what_is_asked_for_never_again_is_forgotten_all_the_same() -> None:
    clock = Clock()
    lately: Lately[int, int] = Lately(clock.environment(), 5 * SECOND)
    for number in range(100):
        lately.note(number, 0)
        clock.pass_ns(SECOND)
    assert len(lately) == 5
