"""The leases of live attempts: begun and renewed as their holders report, ended by a loop."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import structlog
from coord.environment import Environment
from coord.times import SECOND, timestamp
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from coord_queue.lease_clock import LeaseClock
from coord_queue.metrics import QueueMetrics
from coord_queue.store import LiveAttempt, QueueStore

_LOOKS_PER_LEASE = 10

Report = pb.Completion | pb.Failure | pb.Release

log = structlog.get_logger(__name__)


class Leases:
    """Keeps the clock of the leases along with the store.

    Args:
        store: Where the attempts are.
        environment: Time.
        metrics: Where waits, expiries and stale reports are counted.
        lease_ns: How long a lease lasts that nobody renews.
        freed: Called when tasks may have become ready.
    """

    def __init__(
        self,
        store: QueueStore,
        environment: Environment,
        metrics: QueueMetrics,
        lease_ns: int,
        freed: Callable[[], None],
    ) -> None:
        self._store = store
        self._environment = environment
        self._metrics = metrics
        self._lease_ns = lease_ns
        self._freed = freed
        self._clock = LeaseClock(lease_ns)
        store.listen(self._begin)

    def restore(self) -> None:
        """Take up the attempts that live after a start."""
        now_ns, wall_ns = self._environment.monotonic_ns(), self._environment.now_ns()
        self._clock.restore(self._store.live(), now_ns, wall_ns)

    def set_expiry(self, leases: Iterable[pb.Lease]) -> None:
        """Tell holders when their leases expire; who repeats a request has them renewed."""
        now_ns, expires_at = self._environment.monotonic_ns(), timestamp(self._expires_ns())
        for lease in leases:
            attempt = lease.attempt
            self._clock.renew(attempt.fencing_token, now_ns)
            attempt.lease_expires_at.CopyFrom(expires_at)

    def reassigned(
        self, items: Iterable[pb.Reassignment], results: Iterable[pb.AssignTasksResult]
    ) -> None:
        """End the leases of attempts that gave way to others."""
        now_ns = self._environment.monotonic_ns()
        for item, result in zip(items, results, strict=True):
            if result.HasField("lease"):
                self._clock.end(item.attempt.fencing_token, now_ns)
                self.set_expiry([result.lease])

    def started(
        self, attempts: Iterable[common_pb2.AttemptRef], results: Iterable[pb.ReportResult]
    ) -> None:
        """Begin the timeouts of attempts that have started."""
        now_ns = self._environment.monotonic_ns()
        for token in self._accepted(attempts, results):
            self._clock.start(token, now_ns)

    def submitted(
        self, attempts: Iterable[common_pb2.AttemptRef], results: Iterable[pb.ReportResult]
    ) -> None:
        """End the leases' times and the timeouts of attempts that were handed over."""
        for token in self._accepted(attempts, results):
            self._clock.submit(token)

    def ended(self, reports: Iterable[Report], results: Iterable[pb.ReportResult]) -> list[int]:
        """End the leases of attempts that have ended; return how long each was held, in ns."""
        tokens = self._accepted((one.attempt for one in reports), results)
        now_ns = self._environment.monotonic_ns()
        self._freed()
        held = [self._clock.end(token, now_ns) for token in tokens]
        return [held_ns for held_ns in held if held_ns is not None]

    def renewed(
        self, attempt: common_pb2.AttemptRef, directive: pb.LeaseDirective
    ) -> pb.LeaseRenewalResult:
        """Renew the lease of an attempt that is to go on; return what its holder is told."""
        result = pb.LeaseRenewalResult(task_id=attempt.task_id, directive=directive)
        if directive == pb.LEASE_DIRECTIVE_CONTINUE:
            self._clock.renew(attempt.fencing_token, self._environment.monotonic_ns())
            result.expires_at.CopyFrom(timestamp(self._expires_ns()))
        return result

    async def expire(self) -> None:
        """End what is due, and see whether the wall clock was set back, for ever."""
        while True:
            await asyncio.sleep(self._lease_ns / SECOND / _LOOKS_PER_LEASE)
            try:
                if await self._store.follow_clock():
                    self._freed()
                await self.expire_due()
            except Exception:  # Whatever it is, the next look comes.
                log.exception("leases could not be expired")

    async def expire_due(self) -> None:
        """End the attempts whose lease has expired or whose time is over."""
        due: defaultdict[str, list[pb.Failure]] = defaultdict(list)
        for project, failure in self._clock.due(self._environment.monotonic_ns()):
            due[project].append(failure)
        for project, failures in due.items():
            ended = await self._store.end(project, failures)
            # Only now: what the store has refused to end is due again.
            for failure in failures:
                self._clock.end(failure.attempt.fencing_token, 0)
            log.info("attempts ended by the clock", project=project, attempts=ended)
            self._metrics.expired.inc(ended)
            self._freed()

    def _begin(self, given: Sequence[LiveAttempt]) -> None:
        """Begin the leases of new attempts."""
        now_ns, wall_ns = self._environment.monotonic_ns(), self._environment.now_ns()
        for one in given:
            self._clock.begin(one, now_ns)
            self._metrics.wait_s.observe((wall_ns - one.ready_ns) / SECOND)
        self._metrics.count("assigned", len(given), now_ns)

    def _expires_ns(self) -> int:
        return self._environment.now_ns() + self._lease_ns

    def _accepted(
        self, attempts: Iterable[common_pb2.AttemptRef], results: Iterable[pb.ReportResult]
    ) -> list[int]:
        """Return the fencing tokens of reports that were not refused; count the stale ones."""
        tokens: list[int] = []
        for attempt, result in zip(attempts, results, strict=True):
            if not result.HasField("error"):
                tokens.append(attempt.fencing_token)
            elif result.error.reason == "STALE_TOKEN":
                self._metrics.stale.inc()
        return tokens
