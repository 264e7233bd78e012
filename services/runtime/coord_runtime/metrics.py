"""Prometheus metrics of every call, and the port that serves them."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from itertools import accumulate

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from coord_runtime.addresses import split_address

# How soon a stop is noticed; also how often the thread wakes at rest.
_STOP_POLL_S = 0.2
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(slots=True)
class MethodMetrics:
    """The metrics of one RPC: plain numbers, which the event loop alone changes.

    Attributes:
        labels: The RPC's type, service and name.
        started: Calls begun.
        active: Calls under way.
        received: Messages received.
        sent: Messages sent.
        ended: Calls ended, by code.
        seconds: The sum of their times.
        counts: How many took so long, by bucket.
    """

    labels: tuple[str, str, str]
    started: int = 0
    active: int = 0
    received: int = 0
    sent: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))

    def end(self, code: str, seconds: float) -> None:
        """Count the end of a call."""
        self.active -= 1
        self.ended[code] += 1
        self.seconds += seconds
        self.counts[bisect_left(_BUCKETS, seconds)] += 1


class CallMetrics(Collector):
    """`grpc_server_*`, by the names and labels that gRPC's own Prometheus interceptors use.

    The client's own metrics lock at every count, which cost as much as all else that a call does
    before its handler.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: list[MethodMetrics] = []
        registry.register(self)

    def method(self, labels: tuple[str, str, str]) -> MethodMetrics:
        """Return the metrics of one RPC: its type, service and name."""
        self._methods.append(MethodMetrics(labels))
        return self._methods[-1]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        started = CounterMetricFamily("grpc_server_started", "Calls begun.", labels=_LABELS)
        ended = CounterMetricFamily(
            "grpc_server_handled", "Calls ended.", labels=(*_LABELS, "grpc_code")
        )
        received = CounterMetricFamily(
            "grpc_server_msg_received", "Messages received.", labels=_LABELS
        )
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent.", labels=_LABELS)
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end.",
            labels=_LABELS,
        )
        active = GaugeMetricFamily("coord_server_active_calls", "Calls under way.", labels=_LABELS)
        for one in self._methods:
            started.add_metric(one.labels, one.started)
            received.add_metric(one.labels, one.received)
            sent.add_metric(one.labels, one.sent)
            seconds.add_metric(one.labels, _cumulated(one.counts), one.seconds)
            active.add_metric(one.labels, one.active)
            for code, calls in list(one.ended.items()):
                ended.add_metric((*one.labels, code), calls)
        yield from (started, ended, received, sent, seconds, active)


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    bounds = (*(str(float(one)) for one in _BUCKETS), "+Inf")
    return list(zip(bounds, accumulate(counts), strict=True))


class MetricsServer:
    """Serves a registry over HTTP, on `/metrics`."""

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        host, port = split_address(address)
        handler = MetricsHandler.factory(registry)
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        self.address = f"{host}:{self._server.server_port}"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
