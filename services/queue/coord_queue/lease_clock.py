"""When leases expire and timeouts pass: kept in memory, by the monotonic clock.

A lease is not written when it is renewed. After a start every live attempt has one full lease time,
since its holder could not renew while the service was away.

An attempt that was handed to the merge queue has neither: that remembers on disk what it holds, and
comes back. Were its lease to expire after its change has landed, but before that could be told, the
task would be done a second time.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.schema import NEVER_NS
from coord_queue.store import LiveAttempt


@dataclass(slots=True)
class _Held:
    project: str
    task_id: str
    worker: str
    begun_ns: int
    expires_ns: int
    timeout_ns: int
    limit_ns: int = NEVER_NS


class LeaseClock:
    """The live attempts, by fencing token.

    A worker ends what has run for its task's timeout. For one that does not, the clock waits a
    lease time longer and then ends the attempt itself.

    Args:
        lease_ns: How long a lease lasts that nobody renews.
    """

    def __init__(self, lease_ns: int) -> None:
        self._lease_ns = lease_ns
        self._held: dict[int, _Held] = {}

    def restore(self, live: Iterable[LiveAttempt], now_ns: int, wall_ns: int) -> None:
        """Take up the attempts that live after a start."""
        # The wall clock may have been set back: nothing has begun in the future.
        for one in live:
            begun_ns = now_ns - max(0, wall_ns - one.assigned_ns)
            expires_ns = NEVER_NS if one.submitted else now_ns + self._lease_ns
            self._held[one.token] = held = _Held(
                one.project, one.task_id, one.worker, begun_ns, expires_ns, one.timeout_ns
            )
            if one.started_ns:
                self._limit(held, now_ns - max(0, wall_ns - one.started_ns))

    def begin(self, one: LiveAttempt, now_ns: int) -> None:
        """Note a new attempt."""
        expires_ns = now_ns + self._lease_ns
        self._held[one.token] = _Held(
            one.project, one.task_id, one.worker, now_ns, expires_ns, one.timeout_ns
        )

    def start(self, token: int, now_ns: int) -> None:
        """Note that an attempt has begun its work; its first word counts."""
        held = self._held.get(token)
        if held is not None and held.limit_ns == NEVER_NS:
            self._limit(held, now_ns)

    def submit(self, token: int) -> None:
        """Let neither lease nor timeout of an attempt end it any more."""
        held = self._held.get(token)
        if held is not None:
            held.expires_ns, held.timeout_ns, held.limit_ns = NEVER_NS, 0, NEVER_NS

    def renew(self, token: int, now_ns: int) -> None:
        """Give an attempt one full lease time from `now_ns` on."""
        held = self._held.get(token)
        if held is not None and held.expires_ns != NEVER_NS:
            held.expires_ns = now_ns + self._lease_ns

    def end(self, token: int, now_ns: int) -> int | None:
        """Forget an attempt; return how long it was held, None where it was not."""
        held = self._held.pop(token, None)
        return None if held is None else now_ns - held.begun_ns

    def due(self, now_ns: int) -> list[tuple[str, pb.Failure]]:
        """Return the ends of the attempts whose lease has expired or whose time is over."""
        over = {
            token: held
            for token, held in self._held.items()
            if min(held.expires_ns, held.limit_ns) <= now_ns
        }
        return [(held.project, _failure(token, held, now_ns)) for token, held in over.items()]

    def _limit(self, held: _Held, started_ns: int) -> None:
        if held.timeout_ns:
            held.limit_ns = started_ns + held.timeout_ns + self._lease_ns


def _failure(token: int, held: _Held, now_ns: int) -> pb.Failure:
    failure = pb.Failure(
        attempt=common_pb2.AttemptRef(task_id=held.task_id, fencing_token=token),
        reason=pb.FAILURE_REASON_WORKER_LOST,
        message=f"the lease of worker {held.worker} expired",
    )
    if held.limit_ns <= now_ns:
        failure.reason = pb.FAILURE_REASON_TIMEOUT
        failure.message = f"worker {held.worker} did not end the attempt after its timeout"
    return failure
