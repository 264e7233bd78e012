"""What a worker's messages must look like. A wrong one ends its stream, and only its."""

from collections.abc import Callable
from typing import Any

from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.checks import (
    DETAIL_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    check_attempt,
    check_id,
    check_money,
    check_one_of,
    check_progress,
    check_range,
    check_text,
)

_USED_MAX = 10**12


def check_request(request: pb.ConnectRequest) -> None:
    """Check one message.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_FIELD.
    """
    kind = str(request.WhichOneof("message"))
    if kind in _CHECKS:
        message = getattr(request, kind)
        check_attempt(f"{kind}.attempt", message.attempt)
        _CHECKS[kind](message)
    elif kind == "heartbeat":
        for attempt in request.heartbeat.held:
            check_attempt("heartbeat.held", attempt)


def _check_text(message: pb.Complete | pb.Released) -> None:
    check_text("message", message.message, MESSAGE_BYTES_MAX)


def _check_failed(message: pb.Failed) -> None:
    check_text("failed.message", message.message, MESSAGE_BYTES_MAX)
    check_text("failed.detail", message.detail, DETAIL_BYTES_MAX)
    check_one_of("failed.reason", message.reason, queue_pb2.FailureReason.values())


def _check_progress(message: pb.ProgressReport) -> None:
    check_progress("progress.progress", message.progress)


def _check_spent(message: pb.Spent) -> None:
    check_id("spent.entry_id", message.entry_id)
    if message.HasField("amount"):
        check_money("spent.amount", message.amount)
    _check_usage(message.usage)


def _check_usage(usage: common_pb2.Usage) -> None:
    for field in (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "requests",
    ):
        check_range(f"spent.usage.{field}", getattr(usage, field), 0, _USED_MAX)


def _check_nothing(_: pb.Started) -> None:
    pass


_CHECKS: dict[str, Callable[[Any], None]] = {
    "complete": _check_text,
    "failed": _check_failed,
    "progress": _check_progress,
    "released": _check_text,
    "spent": _check_spent,
    "started": _check_nothing,
}
