"""Prometheus metrics of every call, and the port that serves them."""

import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, MetricsHandler

from coord_runtime.addresses import split_address

# How soon a stop is noticed; also how often the thread wakes at rest.
_STOP_POLL_S = 0.2
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class MethodMetrics:
    """The metrics of one RPC."""

    started: Counter
    received: Counter
    sent: Counter
    seconds: Histogram
    active: Gauge


class CallMetrics:
    """`grpc_server_*`, by the names and labels that gRPC's own Prometheus interceptors use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter("grpc_server_started", "Calls begun.", _LABELS, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "Calls ended.", (*_LABELS, "grpc_code"), registry=registry
        )
        self._received = Counter(
            "grpc_server_msg_received", "Messages received.", _LABELS, registry=registry
        )
        self._sent = Counter("grpc_server_msg_sent", "Messages sent.", _LABELS, registry=registry)
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end.",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._active = Gauge(
            "coord_server_active_calls", "Calls under way.", _LABELS, registry=registry
        )
        self._codes: dict[tuple[str, str, str, str], Counter] = {}

    def method(self, labels: tuple[str, str, str]) -> MethodMetrics:
        """Return the metrics of one RPC: its type, service and name."""
        return MethodMetrics(
            self._started.labels(*labels),
            self._received.labels(*labels),
            self._sent.labels(*labels),
            self._seconds.labels(*labels),
            self._active.labels(*labels),
        )

    def handled(self, labels: tuple[str, str, str], code: str) -> Counter:
        """Return the counter of calls that ended with `code`."""
        key = (*labels, code)
        counter = self._codes.get(key)
        if counter is None:
            counter = self._codes[key] = self._handled.labels(*key)
        return counter


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
