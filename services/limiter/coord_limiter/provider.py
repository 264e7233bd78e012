"""What providers say of their limits, as numbers or as headers of their answers.

Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{remaining,reset}`, the
resets as times (RFC 3339). OpenAI and most others:
`x-ratelimit-{remaining,reset}-{requests,tokens}`, the resets as lengths such as `6m0s`. Both:
`retry-after`, in seconds or as a date; OpenAI also `retry-after-ms`. What cannot be read, or makes
no sense, was not said.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from coord.calls import BUSY
from coord.times import SECOND, duration, duration_ns
from coord.v1 import limiter_pb2

from coord_limiter.bucket import DIMENSIONS

# No longer than a day: a provider's longest limits are renewed each day.
PAUSE_NS_MAX = 24 * 3600 * SECOND
_PAUSE_DEFAULT_NS = 10 * SECOND
_REMAINING_MAX = 10**12
_TEXT_MAX = 64

_ANTHROPIC = {key: f"anthropic-ratelimit-{key.replace('_', '-')}" for key in DIMENSIONS}
_OPENAI = ("requests", "tokens")
# What is longer than this says nothing; what is longer than the longest pause is cut to that.
_WAIT_NS_MAX = 30 * PAUSE_NS_MAX
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


@dataclass
class Observed:
    """What a provider has said.

    Attributes:
        remaining: Units that it has left, by dimension.
        reset_ns: How long until they are refilled, by dimension.
        retry_after_ns: For how long it wants no calls; None where it has not said.
    """

    remaining: dict[str, int] = field(default_factory=dict)
    reset_ns: dict[str, int] = field(default_factory=dict)
    retry_after_ns: int | None = None

    @property
    def pause_ns(self) -> int:
        """For how long nobody is to ask: until there is something left again."""
        empty = [self.reset_ns.get(key, 0) for key, left in self.remaining.items() if left == 0]
        return max([self.retry_after_ns or 0, *empty])

    def message(self) -> limiter_pb2.ProviderState:
        """Return it as a message."""
        limits = {
            key: limiter_pb2.ObservedLimit(
                remaining=left,
                reset_after=duration(self.reset_ns[key]) if key in self.reset_ns else None,
            )
            for key, left in self.remaining.items()
        }
        retry_after = None if self.retry_after_ns is None else duration(self.retry_after_ns)
        return limiter_pb2.ProviderState(retry_after=retry_after, **limits)


def observed(request: limiter_pb2.ReportProviderStateRequest, now_ns: int) -> Observed:
    """Return what a report says; where it says a thing twice, the less counts."""
    found = Observed()
    _add_state(found, request.state)
    headers = {key.lower(): value for key, value in request.headers.items()}
    _add_headers(found, headers, now_ns)
    if request.status_code in BUSY and not found.pause_ns:
        found.retry_after_ns = _PAUSE_DEFAULT_NS
    return found


def _add_state(found: Observed, state: limiter_pb2.ProviderState) -> None:
    for key in DIMENSIONS:
        if state.HasField(key):
            one: limiter_pb2.ObservedLimit = getattr(state, key)
            reset_ns = duration_ns(one.reset_after) if one.HasField("reset_after") else None
            _add(found, key, one.remaining, reset_ns)
    if state.HasField("retry_after"):
        _add_retry(found, duration_ns(state.retry_after))


def _add_headers(found: Observed, headers: Mapping[str, str], now_ns: int) -> None:
    for key, stem in _ANTHROPIC.items():
        reset_ns = _until(headers.get(f"{stem}-reset"), now_ns)
        _add(found, key, _count(headers.get(f"{stem}-remaining")), reset_ns)
    for key in _OPENAI:
        reset_ns = _length(headers.get(f"x-ratelimit-reset-{key}"))
        _add(found, key, _count(headers.get(f"x-ratelimit-remaining-{key}")), reset_ns)
    after_ms = _number(headers.get("retry-after-ms"))
    _add_retry(found, None if after_ms is None else round(after_ms * SECOND / 1_000))
    _add_retry(found, _either(headers.get("retry-after"), now_ns, (_seconds, _http_date)))


def _add(found: Observed, key: str, remaining: int | None, reset_ns: int | None) -> None:
    if remaining is None or not 0 <= remaining <= _REMAINING_MAX:
        return
    if remaining <= found.remaining.get(key, remaining):
        found.remaining[key] = remaining
    if reset_ns is not None and 0 <= reset_ns <= _WAIT_NS_MAX:
        found.reset_ns[key] = max(found.reset_ns.get(key, 0), min(reset_ns, PAUSE_NS_MAX))


def _add_retry(found: Observed, ns: int | None) -> None:
    if ns is not None and 0 <= ns <= _WAIT_NS_MAX:
        found.retry_after_ns = max(found.retry_after_ns or 0, min(ns, PAUSE_NS_MAX))


def _number(text: str | None) -> float | None:
    if text is None or len(text) > _TEXT_MAX or not _NUMBER.fullmatch(text.strip()):
        return None
    return float(text)


def _count(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _length(text: str | None) -> int | None:
    """Return a length such as `6m0s`, or a number of seconds."""
    if text is None or len(text) > _TEXT_MAX:
        return None
    parts = _LENGTH.findall(text)
    if not parts or _LENGTH.sub("", text).strip():
        return _seconds(text, 0)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts) * SECOND)


def _seconds(text: str, _: int) -> int | None:
    number = _number(text)
    return None if number is None else round(number * SECOND)


def _until(text: str | None, now_ns: int) -> int | None:
    """Return how long it is until a time (RFC 3339)."""
    if text is None or len(text) > _TEXT_MAX:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return _left(at, now_ns)
    except (ValueError, OverflowError):
        return None


def _http_date(text: str, now_ns: int) -> int | None:
    try:
        return _left(parsedate_to_datetime(text), now_ns)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _left(at: datetime, now_ns: int) -> int:
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0, round(aware.timestamp() * SECOND) - now_ns)


def _either(
    text: str | None, now_ns: int, readings: Iterable[Callable[[str, int], int | None]]
) -> int | None:
    if text is None or len(text) > _TEXT_MAX:
        return None
    return next((ns for read in readings if (ns := read(text, now_ns)) is not None), None)
