"""What the queue measures."""

from collections import deque

from coord.times import SECOND
from coord.v1 import queue_pb2 as pb
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_WINDOW_S = 60
_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)


class QueueMetrics:
    """The queue's metrics.

    Args:
        registry: Where they are shown.
        now_ns: The monotonic clock.
    """

    def __init__(self, registry: CollectorRegistry, now_ns: int) -> None:
        self._rates = {name: Rate(now_ns) for name in ("added", "assigned", "completed")}
        self.expired = Counter(
            "coord_queue_lease_expiries", "Leases that expired.", registry=registry
        )
        self.stale = Counter(
            "coord_queue_stale_reports", "Reports refused as stale.", registry=registry
        )
        self.wait_s = Histogram(
            "coord_queue_ready_to_assigned_seconds",
            "Time from ready to assigned.",
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self.work_s = Histogram(
            "coord_queue_assigned_to_complete_seconds",
            "Time from assigned to complete.",
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._tasks = Gauge(
            "coord_queue_tasks", "Tasks by state.", ("project", "state"), registry=registry
        )
        self._age_s = Gauge(
            "coord_queue_backlog_age_seconds",
            "How long the oldest ready task has been ready.",
            ("project",),
            registry=registry,
        )

    def count(self, name: str, number: int, now_ns: int) -> None:
        """Count tasks that were added, assigned or completed."""
        self._rates[name].add(number, now_ns)

    def rates(self, now_ns: int) -> dict[str, float]:
        """Return how many a second were added, assigned and completed, over the last minute."""
        return {name: rate.per_second(now_ns) for name, rate in self._rates.items()}

    def set_counts(self, project: str, stats: pb.GetQueueStatsResponse, now_s: float) -> None:
        """Show a project's counts."""
        counts = {pb.TaskState.Name(one.state): one.count for one in stats.counts}
        for name in pb.TaskState.keys()[1:]:
            label = name.removeprefix("TASK_STATE_").lower()
            self._tasks.labels(project, label).set(counts.get(name, 0))
        oldest = stats.oldest_ready_at
        age_s = now_s - oldest.seconds - oldest.nanos / SECOND if stats.ready else 0
        self._age_s.labels(project).set(max(0, age_s))


class Rate:
    """How many a second, over the last minute.

    Args:
        now_ns: The monotonic clock at the start.
    """

    def __init__(self, now_ns: int) -> None:
        self._begin_ns = now_ns
        self._seconds: deque[list[int]] = deque()

    def add(self, number: int, now_ns: int) -> None:
        """Count some."""
        second = now_ns // SECOND
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += number
        else:
            self._seconds.append([second, number])
            self._forget(second)

    def per_second(self, now_ns: int) -> float:
        """Return the rate over the last minute, or since the start where that is shorter."""
        self._forget(now_ns // SECOND)
        window_s = min(_WINDOW_S, max((now_ns - self._begin_ns) / SECOND, 1))
        return sum(number for _, number in self._seconds) / window_s

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - _WINDOW_S:
            self._seconds.popleft()
