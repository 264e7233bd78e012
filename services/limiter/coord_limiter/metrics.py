"""What the limiter counts, by project."""

from functools import partial

from coord.times import SECOND
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from coord_limiter.admission import Changes
from coord_limiter.bucket import DIMENSIONS, Shortage
from coord_limiter.line import Line


class LimiterMetrics:
    """The limiter's Prometheus metrics."""

    def __init__(self, registry: CollectorRegistry, line: Line) -> None:
        self._line = line
        self._projects: dict[str, ProjectMetrics] = {}
        self._waiting = Gauge(
            "coord_limiter_waiting", "Requests in line.", ("project",), registry=registry
        )
        self.wait = Histogram(
            "coord_limiter_wait_seconds",
            "How long those waited in line that were granted.",
            ("project",),
            buckets=(0.01, 0.1, 1, 10, 60, 600),
            registry=registry,
        )
        self.granted = Counter(
            "coord_limiter_granted", "Units granted.", ("project", "dimension"), registry=registry
        )
        self.grants = Counter(
            "coord_limiter_grants", "Grants given.", ("project",), registry=registry
        )
        self.waits = Counter(
            "coord_limiter_waits",
            "Requests told to wait.",
            ("project", "bucket", "dimension"),
            registry=registry,
        )
        self.refusals = Counter(
            "coord_limiter_refusals",
            "Requests larger than a bucket.",
            ("project", "bucket", "dimension"),
            registry=registry,
        )

    def of(self, project: str) -> "ProjectMetrics":
        """Return those of a project."""
        if project not in self._projects:
            self._projects[project] = ProjectMetrics(self, project)
            waiting = partial(self._line.waiting_of, project)
            self._waiting.labels(project).set_function(waiting)
        return self._projects[project]


class ProjectMetrics:
    """What is counted of one project."""

    def __init__(self, metrics: LimiterMetrics, project: str) -> None:
        self._metrics = metrics
        self._project = project
        # Looked up once: that takes longer than counting.
        self._wait, self._grants = metrics.wait.labels(project), metrics.grants.labels(project)
        self._granted = {one: metrics.granted.labels(project, one) for one in DIMENSIONS}

    def waited(self, ns: int) -> None:
        """Count a request that was granted after a time in line."""
        self._wait.observe(ns / SECOND)

    def count(self, changes: Changes) -> None:
        """Count what was granted."""
        self._grants.inc(len(changes.granted))
        for dimension, units in changes.units.items():
            self._granted[dimension].inc(units)

    def count_shortage(self, shortage: Shortage) -> None:
        """Count a request that does not fit now, or never will."""
        metrics = self._metrics
        counter = metrics.refusals if shortage.retry_after_ns is None else metrics.waits
        counter.labels(self._project, shortage.bucket, shortage.dimension).inc()
