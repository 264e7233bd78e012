"""What the coordinator measures."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class CoordinatorMetrics:
    """The coordinator's metrics.

    Attributes:
        calls: Calls to models that were asked for, by what was decided.
        claims_held: Claims that are held.
        claims_waiting: Claims that wait for others.
        messages_routed: Messages that a recipient has acknowledged.
        dispatched: Attempts that were given to workers, by the strategy that chose.
        steals_tried: Attempts that were called back from a worker's queue for an idle one.
        steals_won: Those that the idle worker got.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "coord_coordinator_calls",
            "Calls to models that were asked for.",
            ["outcome"],
            registry=registry,
        )
        self.claims_held = Gauge(
            "coord_coordinator_claims_held", "Claims that are held.", registry=registry
        )
        self.claims_waiting = Gauge(
            "coord_coordinator_claims_waiting", "Claims that wait for others.", registry=registry
        )
        self.messages_routed = Counter(
            "coord_coordinator_messages_routed",
            "Messages between workers that a recipient has acknowledged.",
            registry=registry,
        )
        self.dispatched = Counter(
            "coord_coordinator_dispatched",
            "Attempts that were given to workers.",
            ["strategy"],
            registry=registry,
        )
        self.steals_tried = Counter(
            "coord_coordinator_steals_tried",
            "Attempts that were called back for an idle worker.",
            registry=registry,
        )
        self.steals_won = Counter(
            "coord_coordinator_steals_won",
            "Attempts that an idle worker has got from another's queue.",
            registry=registry,
        )
