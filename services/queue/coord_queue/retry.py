"""What follows an attempt that ended without success: a pure decision."""

from dataclasses import dataclass

from coord.environment import Random
from coord.times import SECOND, duration_ns
from coord.v1 import queue_pb2 as pb

WORKERS_LOST_MAX = 5
_ATTEMPTS_DEFAULT = 3
_BACKOFF_FIRST_NS = SECOND
_BACKOFF_MAX_NS = 60 * SECOND

_FREE = frozenset(
    {
        pb.FAILURE_REASON_AGENT_UNAVAILABLE,
        pb.FAILURE_REASON_RATE_LIMITED,
        pb.FAILURE_REASON_RELEASED,
        pb.FAILURE_REASON_WORKER_LOST,
    }
)


@dataclass(frozen=True)
class Verdict:
    """What follows a failed attempt.

    Attributes:
        again: Whether another attempt follows.
        attempts_used: Attempts that count, this one included if it does.
        workers_lost: Attempts that lost their worker, this one included if it did.
        wait_ns: How long until the next attempt may start.
    """

    again: bool
    attempts_used: int
    workers_lost: int
    wait_ns: int = 0


def after_failure(
    policy: pb.RetryPolicy,
    reason: pb.FailureReason,
    attempts_used: int,
    workers_lost: int,
    chance: Random,
) -> Verdict:
    """Decide what follows an attempt that ended for `reason`.

    The wait doubles with each attempt that counts, up to the policy's longest, and is drawn evenly
    from its upper half ("equal jitter", Brooker, "Exponential Backoff And Jitter", AWS, 2015). With
    each worker that the task loses it is four times as long: a task that kills its workers is to
    let others go first.

    Args:
        policy: The task's policy.
        reason: Why the attempt ended.
        attempts_used: Attempts that counted before this one.
        workers_lost: Attempts before this one that lost their worker.
        chance: Where the jitter comes from.
    """
    used = attempts_used + (reason not in _FREE)
    lost = workers_lost + (reason == pb.FAILURE_REASON_WORKER_LOST)
    if reason == pb.FAILURE_REASON_OUT_OF_BUDGET or lost >= WORKERS_LOST_MAX:
        return Verdict(again=False, attempts_used=used, workers_lost=lost)
    if used >= (policy.max_attempts or _ATTEMPTS_DEFAULT):
        return Verdict(again=False, attempts_used=used, workers_lost=lost)
    wait_ns = 0
    if reason == pb.FAILURE_REASON_WORKER_LOST:
        wait_ns = _backoff_ns(policy, 2 * (lost - 1), chance)
    elif reason not in _FREE:
        wait_ns = _backoff_ns(policy, used - 1, chance)
    return Verdict(again=True, attempts_used=used, workers_lost=lost, wait_ns=wait_ns)


def _backoff_ns(policy: pb.RetryPolicy, doublings: int, chance: Random) -> int:
    first_ns = duration_ns(policy.initial_backoff) or _BACKOFF_FIRST_NS
    longest_ns = duration_ns(policy.max_backoff) or _BACKOFF_MAX_NS
    nominal_ns = min(first_ns << doublings, longest_ns)
    return nominal_ns // 2 + chance.randrange(nominal_ns // 2 + 1)
