"""What must hold of rates while a simulation runs: no window has more than burst and rate allow."""

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from coord.times import duration_ns
from coord.v1 import limiter_pb2

from tests.simulation.world import World

# A grant leaves the limiter a little later than it is given.
_GRANT_S = 0.1


class Rates:
    """What the limiter has granted: in any window at most the burst and what has come since."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._limits: dict[tuple[str, str], tuple[int, int]] = {}
        self._seen: set[str] = set()
        self._amounts: dict[tuple[str, str], int] = {}
        # What was given back may be told before the answer that gave it.
        self._ended: dict[str, limiter_pb2.Quantities] = {}
        self._times: defaultdict[tuple[str, str], deque[tuple[float, str]]]
        self._times = defaultdict(deque)

    def configured(self, request: Any, _: Any) -> Iterator[str]:
        for dimension, limit in request.limits.ListFields():
            bounds = (limit.per_minute, limit.burst)
            self._limits[request.name, dimension.name] = bounds
        return iter(())

    def granted(self, request: Any, answer: Any) -> Iterator[str]:
        now_s = self._world.environment.monotonic_ns() / 1e9
        for asked, result in zip(request.requests, answer.results, strict=True):
            if result.HasField("wait"):
                assert duration_ns(result.wait.retry_after) >= 0
            if not result.HasField("grant") or asked.grant_id in self._seen:
                continue
            self._seen.add(asked.grant_id)
            if self._world.network.has_just_gone_on("limiter"):
                continue  # It was granted before, nobody knows when.
            for dimension, units in asked.estimate.ListFields():
                self._amounts[asked.grant_id, dimension.name] = units
                for bucket in asked.buckets:
                    self._times[bucket, dimension.name].append((now_s, asked.grant_id))
            if asked.grant_id in self._ended:
                self._lower(asked.grant_id, self._ended[asked.grant_id])
        yield from self._passed(now_s)

    def settled(self, request: Any, answer: Any) -> Iterator[str]:
        for one, result in zip(request.settlements, answer.results, strict=True):
            if not result.HasField("error"):
                self._end(one.grant_id, one.actual)
        return iter(())

    def released(self, request: Any, answer: Any) -> Iterator[str]:
        for grant_id, result in zip(request.grant_ids, answer.results, strict=True):
            if not result.HasField("error"):
                self._end(grant_id, limiter_pb2.Quantities())
        return iter(())

    def _end(self, grant_id: str, actual: limiter_pb2.Quantities) -> None:
        self._ended.setdefault(grant_id, actual)
        self._lower(grant_id, actual)

    def _lower(self, grant_id: str, actual: limiter_pb2.Quantities) -> None:
        for dimension in ("requests", "tokens", "input_tokens", "output_tokens"):
            key = (grant_id, dimension)
            if key in self._amounts:
                self._amounts[key] = min(self._amounts[key], getattr(actual, dimension))

    def _passed(self, now_s: float) -> Iterator[str]:
        """Yield the buckets of which more was granted in a window that ends now."""
        for (bucket, dimension), (per_minute, burst) in self._limits.items():
            total = 0
            for at_s, grant_id in reversed(self._times[bucket, dimension]):
                total += self._amounts[grant_id, dimension]
                most = burst + per_minute * (now_s - at_s + _GRANT_S) / 60
                if total > most:
                    yield f"{total} {dimension} of {bucket} in {now_s - at_s:.1f} s"
                    break
                if now_s - at_s > 120:
                    break
