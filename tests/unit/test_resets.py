"""Until when a limit holds, read from the words of agents."""

from datetime import UTC, datetime

import pytest
from coord_worker.resets import reset_ns
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
NOW_NS = round(NOW.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("usage limit reached|1795381200", 3_600),
        ("Please try again in 20s.", 20),
        ("try again in 6m0s", 360),
        ("try again in 1.5 seconds", 1.5),
        ("Please retry in 350ms", 0.35),
        ("try again in 3 days 2 hours 5 minutes.", 266_700),
        ("429 (retry-after: 20)", 20),
        ("You've hit your limit \u00b7 resets 3pm (America/Los_Angeles)", 3 * 3_600),
        ("resets 7am (Europe/Berlin)", 10 * 3_600),
        ("try again at Nov 24th, 2026 8:00 PM (UTC/UTC)", None),
        ("resets Nov 24, 12pm (Europe/London)", 40 * 3_600),
        ("resets 99pm (Europe/London)", None),
        ("resets 3pm (No/Where)", None),
        ("usage limit reached", None),
        ("I retry the tests in 5 files", None),
        ("try again in 99999999 days", None),
    ],
)
def test_the_end_of_a_limit_is_read_where_it_is_told(text: str, seconds: float | None) -> None:
    expected = None if seconds is None else NOW_NS + round(seconds * 10**9)
    assert reset_ns(text, NOW_NS) == expected


def test_a_time_of_day_without_a_zone_is_the_next_one_here() -> None:
    at_ns = reset_ns("or try again at 8:58 PM.", NOW_NS)
    assert at_ns is not None
    here = datetime.fromtimestamp(at_ns / 10**9).astimezone()
    assert (here.hour, here.minute) == (20, 58)
    assert 0 < at_ns - NOW_NS <= 24 * 3_600 * 10**9


@given(st.text("retry again in resets at 0123456789.:apm (/)sh,|"))
def test_no_text_breaks_the_reading(text: str) -> None:
    reset_ns(text, NOW_NS)
