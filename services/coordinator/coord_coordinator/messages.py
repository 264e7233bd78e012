"""What a worker's messages must look like. A wrong one ends its stream, and only its."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coord.times import SECOND, duration_ns
from coord.v1 import admission_pb2, claims_pb2, common_pb2, limiter_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_runtime.checks import (
    DETAIL_BYTES_MAX,
    GLOB_BYTES_MAX,
    ITEMS_MAX,
    MESSAGE_BYTES_MAX,
    RESOURCES_MAX,
    check_attempt,
    check_id,
    check_ids,
    check_money,
    check_one_of,
    check_progress,
    check_range,
    check_text,
    check_worker,
    invalid_field,
)
from coord_runtime.globs import trimmed
from google.protobuf.duration_pb2 import Duration

_USED_MAX = 10**12
_OWN_ID_MAX = 56
# As many as the limiter hears of at once from a provider.
_BUCKETS_MAX = 16
_WAIT_NS_MAX = 60 * SECOND
_LEASE_NS_MAX = 24 * 3600 * SECOND
_TIME_TO_LIVE_NS_MAX = 7 * 24 * 3600 * SECOND


def check_request(request: pb.ConnectRequest) -> None:
    """Check one message.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_FIELD.
    """
    kind = str(request.WhichOneof("message"))
    if kind in _REPORTS:
        message = getattr(request, kind)
        check_attempt(f"{kind}.attempt", message.attempt)
        _REPORTS[kind](message)
    elif kind in _QUESTIONS:
        _QUESTIONS[kind](getattr(request, kind))
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


def check_wait(wait: Duration) -> int:
    """Check how long a call is to wait, 60 seconds at most; return it in nanoseconds."""
    wait_ns = duration_ns(wait)
    check_range("wait", wait_ns, 0, _WAIT_NS_MAX)
    return wait_ns


def check_buckets(field: str, names: Sequence[str]) -> None:
    """Check which buckets something counts for."""
    check_ids(field, names)
    check_range(f"{field}: how many", len(names), 0, _BUCKETS_MAX)


def check_claim_request(request: claims_pb2.ClaimRequest) -> None:
    """Check what a claim asks for."""
    check_id("claim_id", request.claim_id)
    if request.HasField("attempt"):
        check_attempt("attempt", request.attempt)
    check_range("resources", len(request.resources), 1, RESOURCES_MAX)
    check_range("lease", duration_ns(request.lease), 0, _LEASE_NS_MAX)
    check_resources(request.resources)


def check_resources(resources: Iterable[claims_pb2.Resource]) -> None:
    """Check what claims are about."""
    for resource in resources:
        if resource.HasField("name"):
            check_id("resources.name", resource.name)
        elif not trimmed(resource.path) or resource.path.startswith("!"):
            raise invalid_field(
                "resources.path", f"a glob that matches something, not {resource.path[:64]!r}"
            )
        check_text("resources.path", resource.path, GLOB_BYTES_MAX)


def check_worker_message(message: pb.WorkerMessage) -> None:
    """Check a message to workers."""
    check_id("message_id", message.message_id)
    kind = message.WhichOneof("recipient")
    if kind == "worker":
        check_worker("worker", message.worker)
    elif kind == "role":
        check_id("role", message.role)
    elif not message.everybody:
        raise invalid_field("recipient", "a worker, a role, or everybody")
    if message.thread:
        check_id("thread", message.thread)
    check_text("body", message.body, DETAIL_BYTES_MAX)
    check_range("time_to_live", duration_ns(message.time_to_live), 0, _TIME_TO_LIVE_NS_MAX)


def _check_claim_release(release: pb.ClaimRelease) -> None:
    check_id("claim_release.claim_id", release.claim_id)


def _check_rate_request(request: pb.RateRequest) -> None:
    _check_own_id("rate_request.rate_id", request.rate_id)
    check_buckets("rate_request.buckets", request.buckets)
    if request.HasField("attempt"):
        check_attempt("rate_request.attempt", request.attempt)
    _check_quantities("rate_request.estimate", request.estimate)


def _check_rate_settlement(settlement: pb.RateSettlement) -> None:
    _check_own_id("rate_settlement.rate_id", settlement.rate_id)
    _check_quantities("rate_settlement.actual", settlement.actual)


def _check_quantities(field: str, quantities: limiter_pb2.Quantities) -> None:
    for name in ("requests", "tokens", "input_tokens", "output_tokens"):
        check_range(f"{field}.{name}", getattr(quantities, name), 0, _USED_MAX)


def check_call_request(request: admission_pb2.CallRequest) -> None:
    """Check what is said of a call that is asked for."""
    _check_own_id("call_id", request.call_id)
    if request.HasField("attempt"):
        check_attempt("attempt", request.attempt)
    check_id("model", request.model)
    check_range("input_tokens", request.input_tokens, 0, _USED_MAX)
    check_range("max_output_tokens", request.max_output_tokens, 0, _USED_MAX)
    check_range("min_output_tokens", request.min_output_tokens, 0, request.max_output_tokens)
    check_buckets("buckets", request.buckets)
    if request.lane:
        check_one_of("lane", request.lane, limiter_pb2.Lane.values())


def check_call_settlement(settlement: admission_pb2.CallSettlement) -> None:
    """Check what is said of a call that was admitted."""
    _check_own_id("call_id", settlement.call_id)
    if settlement.HasField("attempt"):
        check_attempt("attempt", settlement.attempt)
    check_id("model", settlement.model or settlement.usage.model)
    _check_usage(settlement.usage)
    if settlement.HasField("actual"):
        check_money("actual", settlement.actual)
    check_buckets("buckets", settlement.buckets)
    check_range("headers", len(settlement.headers), 0, ITEMS_MAX)


def _check_own_id(field: str, value: str) -> None:
    """Check an id that is unique for its worker alone."""
    check_id(field, value)
    # With the worker's name before it, it is an id elsewhere.
    check_range(f"{field}: length", len(value), 1, _OWN_ID_MAX)


def _check_conflict_check(check: pb.ConflictCheck) -> None:
    check_id("conflict_check.check_id", check.check_id)


_QUESTIONS: dict[str, Callable[[Any], None]] = {
    "call_request": check_call_request,
    "call_settlement": check_call_settlement,
    "claim_release": _check_claim_release,
    "conflict_check": _check_conflict_check,
    "rate_request": _check_rate_request,
    "rate_settlement": _check_rate_settlement,
    "request": check_claim_request,
    "worker_message": check_worker_message,
}
_REPORTS: dict[str, Callable[[Any], None]] = {
    "complete": _check_text,
    "failed": _check_failed,
    "progress": _check_progress,
    "released": _check_text,
    "spent": _check_spent,
    "started": _check_nothing,
}
