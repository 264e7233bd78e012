"""What an agent may say about its own failure: JSON in `COORD_RESULT_FILE`.

{"reason": "rate_limited", "message": "429 from the provider", "retry_after_s": 20}
"""

import math
from pathlib import Path

from coord.times import SECOND, from_seconds
from coord.v1 import queue_pb2

from coord_worker.agent_files import open_to_read
from coord_worker.answers import Answer, parse_json

_RESULT_BYTES_MAX = 2**16
_WAIT_S_MIN = 5.0
_WAIT_S_MAX = 366 * 86_400
# EX_TEMPFAIL of <sysexits.h>
TRY_LATER = 75
_REASONS = {
    "agent_error": queue_pb2.FAILURE_REASON_AGENT_ERROR,
    "agent_unavailable": queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE,
    "no_change": queue_pb2.FAILURE_REASON_NO_CHANGE,
    "out_of_budget": queue_pb2.FAILURE_REASON_OUT_OF_BUDGET,
    "rate_limited": queue_pb2.FAILURE_REASON_RATE_LIMITED,
    "refused": queue_pb2.FAILURE_REASON_REFUSED,
}


def read_result(path: Path, exit_status: int, now_ns: int) -> Answer | None:
    """Return how an agent that has failed says so; None where it does not, or not properly.

    Exit status 75 alone means that its provider's limit was hit.
    """
    if exit_status == 0:
        return None
    fields = _fields(path)
    name = fields.get("reason", "rate_limited" if exit_status == TRY_LATER else None)
    reason = _REASONS.get(name) if isinstance(name, str) else None
    if reason is None:
        return None
    message = fields.get("message")
    return Answer(
        reason,
        message if isinstance(message, str) and message.strip() else f"the agent says: {name}",
        not_before_ns=_not_before_ns(fields, now_ns),
    )


def _fields(path: Path) -> dict[str, object]:
    try:
        with open_to_read(path) as file:
            text = file.read(_RESULT_BYTES_MAX).decode(errors="replace")
    except OSError:
        return {}
    found = parse_json(text)
    return found if isinstance(found, dict) else {}


def _not_before_ns(fields: dict[str, object], now_ns: int) -> int | None:
    wait_s, at_s = _number(fields.get("retry_after_s")), _number(fields.get("not_before"))
    if wait_s is None and at_s is not None:
        wait_s = at_s - now_ns / SECOND
    if wait_s is None or not 0 <= wait_s <= _WAIT_S_MAX:
        return None
    # At once, again and again, would keep all others from their turn.
    return now_ns + from_seconds(max(wait_s, _WAIT_S_MIN))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int may be too large for a float.
    return float(value) if abs(value) < _WAIT_S_MAX * 1_000 and math.isfinite(value) else None
