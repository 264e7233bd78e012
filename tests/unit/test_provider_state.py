"""What is understood of what providers say: a bucket shrinks by it, or nothing changes."""

import pytest
from coord.times import MINUTE, SECOND
from coord.v1 import limiter_pb2
from coord_limiter.provider import Observed, observed
from hypothesis import given, settings
from hypothesis import strategies as st

NOW_NS = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z

ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:42Z",
    "anthropic-ratelimit-output-tokens-remaining": "8000",
    "anthropic-ratelimit-output-tokens-reset": "2026-01-01T00:00:00Z",
    "Retry-After": "17",
}
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
}


def read(status_code: int = 200, **headers: str) -> Observed:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return report(given, status_code)


def report(headers: dict[str, str], status_code: int = 200) -> Observed:
    request = limiter_pb2.ReportProviderStateRequest(headers=headers, status_code=status_code)
    return observed(request, NOW_NS)


def test_anthropics_headers() -> None:
    found = report(ANTHROPIC, 429)
    assert found.remaining == {"requests": 49, "input_tokens": 0, "output_tokens": 8_000}
    assert found.reset_ns["input_tokens"] == 42 * SECOND
    assert found.retry_after_ns == 17 * SECOND
    # The longer of the two: until there is input left again.
    assert found.pause_ns == 42 * SECOND


def test_openais_headers() -> None:
    found = report(OPENAI)
    assert found.remaining == {"requests": 59, "tokens": 149_984}
    assert found.reset_ns == {"requests": SECOND, "tokens": 6 * MINUTE}
    assert found.pause_ns == 0
    empty = report(OPENAI | {"x-ratelimit-remaining-tokens": "0"})
    assert empty.pause_ns == 6 * MINUTE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("0.25", 0.25),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1e9", 0),
        ("172800", 86_400),
        ("99999999999", 0),
        ("\N{ARABIC-INDIC DIGIT FIVE}", 0),
    ],
)
def test_retry_after_in_each_of_its_forms(text: str, seconds: float) -> None:
    assert read(retry_after=text).pause_ns == seconds * SECOND


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20ms", SECOND // 50),
        ("1h2m3.5s", 3_723.5 * SECOND),
        ("7.66", 7.66 * SECOND),
        ("1 parsec", 0),
        ("25h", 86_400 * SECOND),
        ("400d", 0),
    ],
)
def test_resets_as_lengths(text: str, ns: float) -> None:
    found = read(x_ratelimit_remaining_tokens="0", x_ratelimit_reset_tokens=text)
    assert found.pause_ns == ns


def test_a_reset_in_two_days_is_a_pause_of_one() -> None:
    days = {"anthropic-ratelimit-requests-reset": "2026-01-03T00:00:00Z"}
    empty = {"anthropic-ratelimit-requests-remaining": "0"}
    assert report(ANTHROPIC | empty | days).pause_ns == 24 * 60 * MINUTE


@pytest.mark.parametrize("text", ["-1", "many", "1e3", "9" * 100, "", "0x10"])
def test_a_remainder_that_is_none_says_nothing(text: str) -> None:
    found = read(x_ratelimit_remaining_tokens=text, x_ratelimit_reset_tokens="1m0s")
    assert (found.remaining, found.pause_ns) == ({}, 0)


def test_of_what_contradicts_itself_the_less_counts() -> None:
    found = report(ANTHROPIC | OPENAI | {"anthropic-ratelimit-tokens-remaining": "200000"})
    assert (found.remaining["requests"], found.remaining["tokens"]) == (49, 149_984)
    state = limiter_pb2.ProviderState(tokens=limiter_pb2.ObservedLimit(remaining=7))
    request = limiter_pb2.ReportProviderStateRequest(headers=OPENAI, state=state)
    assert observed(request, NOW_NS).remaining["tokens"] == 7


@pytest.mark.parametrize("status_code", [429, 503, 529])
def test_who_is_too_busy_and_says_nothing_more_wants_a_pause_all_the_same(status_code: int) -> None:
    assert read(status_code).pause_ns == 10 * SECOND
    assert read(200).pause_ns == read(500).pause_ns == 0
    assert read(status_code, retry_after_ms="1500").pause_ns == 1.5 * SECOND


names = st.sampled_from([*ANTHROPIC, *OPENAI, "retry-after", "retry-after-ms"])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.dictionaries(names, st.text(max_size=30)), st.integers(-(2**31), 2**31 - 1))
def test_no_header_brings_it_down(headers: dict[str, str], status_code: int) -> None:
    found = report(headers, status_code)
    assert all(left >= 0 for left in found.remaining.values())
    assert 0 <= found.pause_ns <= 24 * 3600 * SECOND
    found.message()
