"""Conversions between integer nanoseconds and the contract's well-known types."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

SECOND = 10**9
MINUTE = 60 * SECOND


def timestamp(ns: int) -> Timestamp:
    """Return the time `ns` nanoseconds after 1970 (UTC)."""
    seconds, nanos = divmod(ns, SECOND)
    return Timestamp(seconds=seconds, nanos=nanos)


def set_timestamp(value: Timestamp, ns: int) -> None:
    """Set a message's field to the time `ns` nanoseconds after 1970 (UTC)."""
    value.seconds, value.nanos = divmod(ns, SECOND)


def timestamp_ns(value: Timestamp) -> int:
    """Return nanoseconds since 1970 (UTC); 0 for an unset field."""
    return value.seconds * SECOND + value.nanos


def duration(ns: int) -> Duration:
    """Return a length of `ns` nanoseconds."""
    seconds, nanos = divmod(abs(ns), SECOND)
    sign = -1 if ns < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * nanos)


def duration_ns(value: Duration) -> int:
    """Return a length in nanoseconds; 0 for an unset field."""
    return value.seconds * SECOND + value.nanos


def from_seconds(seconds: float) -> int:
    """Return a length in nanoseconds, rounded."""
    return round(seconds * SECOND)
