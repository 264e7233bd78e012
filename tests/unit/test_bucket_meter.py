"""A meter against the definition of its bound, computed the long way."""

from dataclasses import dataclass

from coord_limiter.meter import GRAINS, Limit, Meter
from hypothesis import given, settings
from hypothesis import strategies as st

MINUTE = 60 * 10**9


@dataclass
class Charge:
    at: int
    units: int


def room(limit: Limit, charges: list[Charge], now: int) -> int:
    """What every window that ends now leaves, in grains."""
    windows = [
        limit.burst * GRAINS
        + limit.per_minute * (now - first.at)
        - sum(each.units for each in charges[i:]) * GRAINS
        for i, first in enumerate(charges)
    ]
    return min([limit.burst * GRAINS, *windows])


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "settle", "give back", "stands"]),
        st.integers(0, 60),
        st.integers(0, 10),
        st.sampled_from([0, 1, 7, 10**9, 13 * 10**9, MINUTE, 3 * MINUTE]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(1, 90), st.integers(1, 50))
def test_level_is_what_every_window_leaves(
    steps: list[tuple[str, int, int, int]], per_minute: int, burst: int
) -> None:
    limit = Limit(per_minute, burst)
    meter, now = Meter(limit, burst * GRAINS, 0), 0
    charges: list[Charge] = []
    still_open: list[int] = []
    for action, units, pick, passed in steps:
        now += passed
        if action == "take":
            serials = range(len(charges), len(charges) + 1 + pick % 3)
            grains = len(serials) * units * GRAINS
            fits = grains <= room(limit, charges, now)
            assert (grains <= meter.level(now)) == fits
            if fits:
                meter.charge(serials, units, now)
                still_open += serials
                charges += [Charge(now, units) for _ in serials]
        elif still_open:
            serial = still_open.pop(pick % len(still_open))
            actual = {"settle": units, "give back": 0}.get(action, charges[serial].units)
            meter.close(serial, actual - charges[serial].units)
            charges[serial].units = actual
        assert meter.level(now) == room(limit, charges, now)


def test_wait_is_exact_to_the_nanosecond() -> None:
    meter = Meter(Limit(7, 10), 0, 0)
    wait_ns = meter.wait_ns(3, 0)
    assert meter.level(wait_ns - 1) < 3 * GRAINS <= meter.level(wait_ns)


def test_giving_back_after_a_full_refill_gives_nothing_twice() -> None:
    meter = Meter(Limit(100, 100), 100 * GRAINS, 0)
    meter.charge([1], 100, 0)
    meter.charge([2], 100, MINUTE)
    meter.close(1, -100)
    assert meter.level(MINUTE) == 0


def test_use_above_the_estimate_is_a_debt() -> None:
    meter = Meter(Limit(60, 100), 100 * GRAINS, 0)
    meter.charge([1], 100, 0)
    meter.close(1, 50)
    assert meter.level(0) == -50 * GRAINS
    assert meter.wait_ns(10, 0) == MINUTE


def test_a_larger_burst_does_not_fill_a_meter() -> None:
    meter = Meter(Limit(60, 10), 10 * GRAINS, 0)
    meter.charge([1], 10, 0)
    meter.relimit(Limit(60, 1_000), 0)
    assert meter.level(0) == 0
    assert meter.level(MINUTE) == 60 * GRAINS


def test_a_full_meter_stays_at_what_it_held_when_its_burst_grows() -> None:
    meter = Meter(Limit(60, 10), 10 * GRAINS, 0)
    meter.relimit(Limit(60, 1_000), 5 * MINUTE)
    assert meter.level(5 * MINUTE) == 10 * GRAINS


def test_a_smaller_burst_caps_a_meter() -> None:
    meter = Meter(Limit(60, 100), 100 * GRAINS, 0)
    meter.relimit(Limit(60, 10), 0)
    assert meter.level(MINUTE) == 10 * GRAINS


def test_many_open_charges_are_corrected_from_either_end() -> None:
    meter = Meter(Limit(1, 1_000), 1_000 * GRAINS, 0)
    for serial in range(500):
        meter.charge([serial], 2, 0)
    for serial in (0, 499, 1, 498, 250):
        meter.close(serial, -1)
    assert meter.level(0) == 5 * GRAINS
