"""The integrator's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800)
_GLANCE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class IntegratorMetrics:
    """What the integrator counts.

    Attributes:
        changes: Changes that have taken a state, by `state`.
        landings: Changes that have landed.
        rejections: Changes that were rejected, by `reason`.
        check_seconds: Length of the runs of the check, by `result`.
        flakes: Trees on which the check was red and green.
        landing_seconds: Time from submission to landing.
        oldest_seconds: How long the oldest of those that wait has waited.
        slots_busy: Runs of the check under way.
        conflicts: Pairs of worktrees, or of one and the target, that conflict.
        glances: Length of the radar's looks at a worktree.
        pairs: Pairs that the radar has judged, by what has: `apart` its filter, `cached` an earlier
            merge of the same, `merged` git.
        waiting: Changes that wait, are checked or land.

    Runs a landed change: `check_seconds_count` divided by `landings`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.changes = Counter(
            "coord_integrator_changes", "Changes that took a state.", ["state"], registry=registry
        )
        self.landings = Counter(
            "coord_integrator_landings", "Changes that landed.", registry=registry
        )
        self.rejections = Counter(
            "coord_integrator_rejections", "Rejected changes.", ["reason"], registry=registry
        )
        self.check_seconds = Histogram(
            "coord_integrator_check_seconds",
            "Length of a run of the check.",
            ["result"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.flakes = Counter(
            "coord_integrator_flakes", "Trees that were red and green.", registry=registry
        )
        self.landing_seconds = Histogram(
            "coord_integrator_landing_seconds",
            "Time from submission to landing.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.oldest_seconds = Gauge(
            "coord_integrator_queue_age_seconds", "Wait of the oldest change.", registry=registry
        )
        self.slots_busy = Gauge(
            "coord_integrator_slots_busy", "Runs of the check under way.", registry=registry
        )
        self.waiting = Gauge(
            "coord_integrator_queue_length", "Changes not ended yet.", registry=registry
        )
        self.conflicts = Gauge(
            "coord_integrator_conflicts", "Conflicts that last.", registry=registry
        )
        self.glances = Histogram(
            "coord_integrator_glance_seconds",
            "Length of a look at a worktree.",
            buckets=_GLANCE_BUCKETS,
            registry=registry,
        )
        self.pairs = Counter(
            "coord_integrator_pairs",
            "Pairs of worktrees that were judged.",
            ["by"],
            registry=registry,
        )
