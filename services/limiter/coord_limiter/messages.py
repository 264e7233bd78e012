"""Between the contract's messages and the limiter's own types."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from coord.times import duration, set_timestamp, timestamp
from coord.v1 import common_pb2, limiter_pb2
from coord_runtime.checks import (
    are_ids,
    check_id,
    check_one_of,
    check_range,
    check_worker,
    invalid_field,
)

from coord_limiter.bucket import DIMENSIONS, Amounts, Rules, Shortage
from coord_limiter.grants import Ask, HeldGrant, Want
from coord_limiter.meter import Limit

UNITS_MAX = 10**12
_LANES = frozenset(limiter_pb2.Lane.values())
_WEIGHT_MIN, _WEIGHT_MAX = 0.001, 1_000


class NotGranted(NamedTuple):
    """That a request is not granted now: why, and what place it has in line."""

    grant_id: str
    shortage: Shortage
    place: int = 1


def amounts(field: str, quantities: limiter_pb2.Quantities) -> Amounts:
    """Return units by dimension, checked: 0 to 10^12 each."""
    found = {key: getattr(quantities, key) for key in DIMENSIONS}
    for key, units in found.items():
        if not 0 <= units <= UNITS_MAX:
            check_range(f"{field}.{key}", units, 0, UNITS_MAX)
    return found


def limits(field: str, message: limiter_pb2.BucketLimits) -> dict[str, Limit]:
    """Return limits by dimension, checked: at least one, each positive and at most 10^12."""
    found = {key: _limit(getattr(message, key)) for key in DIMENSIONS if message.HasField(key)}
    if not found:
        raise invalid_field(field, "a bucket limits at least one dimension")
    for key, limit in found.items():
        check_range(f"{field}.{key}.per_minute", limit.per_minute, 1, UNITS_MAX)
        check_range(f"{field}.{key}.burst", limit.burst, 1, UNITS_MAX)
    return found


def asks(request: limiter_pb2.AcquireGrantsRequest) -> list[Ask]:
    """Return the requests for grants, checked.

    The ids are taken out of the messages: those that want the same are the same bytes then.
    """
    found: list[Ask] = []
    wants: dict[bytes, Want] = {}
    for each in request.requests:
        grant_id = each.grant_id
        each.ClearField("grant_id")
        wanted = each.SerializeToString()
        want = wants.get(wanted)
        if want is None:
            want = wants[wanted] = _want(f"requests[{len(found)}]", request.worker, each)
        found.append(Ask(grant_id, want))
    if not are_ids([ask.grant_id for ask in found]):
        for i, ask in enumerate(found):
            check_id(f"requests[{i}].grant_id", ask.grant_id)
    return found


def _want(field: str, worker: str, request: limiter_pb2.GrantRequest) -> Want:
    for name in request.buckets:
        check_id(f"{field}.buckets", name)
    estimate = amounts(f"{field}.estimate", request.estimate)
    lane = request.lane or limiter_pb2.LANE_NORMAL
    check_one_of(f"{field}.lane", lane, _LANES)
    names = frozenset(request.buckets)
    required = frozenset(request.required) & names
    return Want(worker, names, estimate, lane, required)


def rules(request: limiter_pb2.ConfigureBucketRequest) -> Rules:
    """Return what is to hold beside a bucket's limits, checked."""
    counting = request.output_counting or limiter_pb2.OUTPUT_COUNTING_PRODUCED
    check_one_of("output_counting", counting, limiter_pb2.OutputCounting.values())
    for worker, weight in request.weights.items():
        check_worker("weights", worker)
        check_range(f"weights.{worker}", weight, _WEIGHT_MIN, _WEIGHT_MAX)
    return Rules(counting == limiter_pb2.OUTPUT_COUNTING_DECLARED, dict(request.weights))


def bucket(
    name: str, limits: Mapping[str, Limit], available: Mapping[str, int], rules: Rules
) -> limiter_pb2.Bucket:
    """Return a bucket's message."""
    counting = (
        limiter_pb2.OUTPUT_COUNTING_DECLARED
        if rules.declared
        else limiter_pb2.OUTPUT_COUNTING_PRODUCED
    )
    return limiter_pb2.Bucket(
        name=name,
        limits=bucket_limits(limits),
        available=limiter_pb2.Quantities(**available),
        output_counting=counting,
        weights=rules.weights,
    )


def bucket_limits(limits: Mapping[str, Limit]) -> limiter_pb2.BucketLimits:
    """Return the message of limits."""
    rates = {
        key: limiter_pb2.RateLimit(per_minute=limit.per_minute, burst=limit.burst)
        for key, limit in limits.items()
    }
    return limiter_pb2.BucketLimits(**rates)


def answer(
    told: Iterable[HeldGrant | NotGranted], ttl_ns: int
) -> limiter_pb2.AcquireGrantsResponse:
    """Return the answer to a batch."""
    response, granted = limiter_pb2.AcquireGrantsResponse(), limiter_pb2.GrantResult()
    granted_ns, results = -1, response.results
    for one in told:
        if not isinstance(one, HeldGrant):
            results.append(_not_granted(one))
            continue
        # Grants of one batch differ in their ids only.
        if one.granted_ns != granted_ns:
            granted_ns = one.granted_ns
            set_timestamp(granted.grant.granted_at, granted_ns)
            set_timestamp(granted.grant.expires_at, granted_ns + ttl_ns)
        granted.grant_id = granted.grant.grant_id = one.ask.grant_id
        results.append(granted)
    return response


def _not_granted(one: NotGranted) -> limiter_pb2.GrantResult:
    grant_id, outcome, place = one
    if outcome.retry_after_ns is None:
        missing = outcome.code == "BUCKET_NOT_FOUND"
        reason = _not_found(outcome) if missing else _too_large(outcome)
        refusal = limiter_pb2.GrantRefusal(reason=reason)
        return limiter_pb2.GrantResult(grant_id=grant_id, refusal=refusal)
    wait = limiter_pb2.GrantWait(
        retry_after=duration(outcome.retry_after_ns), reason=_no_room(outcome), place=place
    )
    return limiter_pb2.GrantResult(grant_id=grant_id, wait=wait)


def paused(until: Mapping[str, int], worker: str) -> list[limiter_pb2.LimiterEvent]:
    """Return the events of buckets whose provider wants no calls."""
    return [
        limiter_pb2.LimiterEvent(
            bucket=name,
            paused=limiter_pb2.BucketPaused(worker=worker, until=timestamp(until_ns)),
        )
        for name, until_ns in until.items()
    ]


def report(grant_id: str, reason: str | None) -> limiter_pb2.GrantReportResult:
    """Return how the settling or release of one grant went."""
    if reason is None:
        return limiter_pb2.GrantReportResult(grant_id=grant_id)
    error = common_pb2.ItemError(reason=reason, message=_REPORT_ERRORS[reason])
    return limiter_pb2.GrantReportResult(grant_id=grant_id, error=error)


def exhausted(shortages: Iterable[tuple[str, Shortage]]) -> list[limiter_pb2.LimiterEvent]:
    """Return the events of buckets that have begun to refuse."""
    return [
        limiter_pb2.LimiterEvent(
            bucket=shortage.bucket,
            exhausted=limiter_pb2.BucketExhausted(
                worker=worker, retry_after=duration(shortage.retry_after_ns or 0)
            ),
        )
        for worker, shortage in shortages
    ]


_REPORT_ERRORS = {
    "GRANT_NOT_FOUND": "the limiter does not know this grant, or it has expired and was taken at "
    "its estimate; nothing is left to do",
    "GRANT_ENDED": "the grant was settled with another amount, or released; report each grant once",
}


def _limit(message: limiter_pb2.RateLimit) -> Limit:
    return Limit(message.per_minute, message.burst)


def _no_room(shortage: Shortage) -> common_pb2.Reason:
    told = {
        "BEHIND_OTHERS": f"others wait for bucket {shortage.bucket}",
        "BUCKET_PAUSED": f"the provider behind bucket {shortage.bucket} wants no calls now",
        "RATE_LIMITED": f"bucket {shortage.bucket} has {shortage.available} {shortage.dimension} "
        f"left, {shortage.requested} are needed",
    }
    return common_pb2.Reason(
        code=shortage.code,
        message=told[shortage.code],
        metadata=_values(shortage, "available"),
    )


def _not_found(shortage: Shortage) -> common_pb2.Reason:
    return common_pb2.Reason(
        code=shortage.code,
        message=f"there is no bucket {shortage.bucket}: configure it first, with `coord rate set`, "
        "or name another",
        metadata={"bucket": shortage.bucket},
    )


def _too_large(shortage: Shortage) -> common_pb2.Reason:
    return common_pb2.Reason(
        code="LARGER_THAN_BUCKET",
        message=f"bucket {shortage.bucket} holds {shortage.available} {shortage.dimension} at the "
        f"most, {shortage.requested} are needed: ask for less, or give it a larger burst",
        metadata=_values(shortage, "burst"),
    )


def _values(shortage: Shortage, available: str) -> dict[str, str]:
    return {
        "bucket": shortage.bucket,
        "dimension": shortage.dimension,
        "requested": str(shortage.requested),
        available: str(shortage.available),
    }
