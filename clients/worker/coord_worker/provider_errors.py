"""What a provider's errors mean, in the words in which agents pass them on."""

import re

from coord.v1 import queue_pb2

from coord_worker.resets import reset_ns

# Too many requests; overloaded, as OpenAI and Google say it; overloaded, as Anthropic says it.
# Tuples, since what is looked for in them may be anything.
_BUSY = (429, 503, 529)
_NO_ENTRY = (401, 402, 403)

_ACCOUNT = re.compile(
    r"invalid.{0,20}api key|api key.{0,10}not valid|incorrect api key|api_key_invalid"
    r"|not logged in|please run /login|authentication ?error|not able to authenticate"
    r"|\b401 unauthorized|credit balance|insufficient_quota|check your plan and billing",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"(usage|rate|quota).{0,3}limit|hit your .{0,40}limit|ratelimiterror|too many requests"
    r"|exhausted your .{0,20}quota|overloaded|resource_exhausted",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"violates? our usage policy|content.?filter|safety settings|content.?policy", re.IGNORECASE
)


def reason_of(text: str, status: object = None) -> queue_pb2.FailureReason | None:
    """Return what an error of a provider means; None for one that is not the provider's.

    Args:
        text: The agent's words for it.
        status: The HTTP status of the provider's answer, where it is known.
    """
    # Some limits of a minute speak of the plan, too; what ends by itself is a limit.
    if (status in _BUSY or _LIMIT.search(text)) and reset_ns(text, 0) is not None:
        return queue_pb2.FAILURE_REASON_RATE_LIMITED
    if status in _NO_ENTRY or _ACCOUNT.search(text):
        return queue_pb2.FAILURE_REASON_AGENT_UNAVAILABLE
    if status in _BUSY or _LIMIT.search(text):
        return queue_pb2.FAILURE_REASON_RATE_LIMITED
    return queue_pb2.FAILURE_REASON_REFUSED if _REFUSED.search(text) else None
