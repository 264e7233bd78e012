"""How long it takes from the completion of a dependency until its dependent is at a worker."""

import statistics
import time
from pathlib import Path
from typing import Any

import grpc.aio
from coord.v1 import queue_pb2
from coord.v1.queue_pb2_grpc import QueueServiceStub

from bench.pairs import Pairs
from bench.processes import no_op
from bench.report import Row, row
from bench.spine.host import host

_WORKERS = 500
_ROUND_S, _ROUNDS = 6.0, 3
_RATES = (100, 300, 1_000)
_ROUND_TRIPS = 500
_P99_S_MAX = 0.010


async def run(state: Path) -> list[Row]:
    async with host(state) as running, no_op() as limit:
        round_trip = await _round_trip(limit)
        pairs = Pairs(running.channel, running.project, _WORKERS)
        rows: list[Row] = []
        async with pairs.workers():
            await pairs.measure(_RATES[0], _ROUND_S)
            for rate in _RATES:
                rounds = [await pairs.measure(rate, _ROUND_S) for _ in range(_ROUNDS)]
                rows += _rows(rate, rounds, round_trip)
    return rows


def _rows(rate: int, rounds: list[tuple[list[float], float]], round_trip: float) -> list[Row]:
    """Return the rows of a rate.

    Args:
        rate: That was wanted, in tasks a second.
        rounds: The waits of each, in seconds, and the rate that it reached.
        round_trip: Of a call to the server that does nothing, in seconds.
    """
    case = f"completed to assigned, {_WORKERS} workers, {rate:,} tasks/s wanted"
    medians = [1e3 * statistics.median(waits) for waits, _ in rounds]
    p99s = [1e3 * statistics.quantiles(waits, n=100)[98] for waits, _ in rounds]
    goal = _P99_S_MAX if rate == _RATES[-1] else None
    return [
        row(f"{case}: reached", "tasks/s", [reached for _, reached in rounds]),
        row(f"{case}: median", "ms", medians),
        row(
            f"{case}: p99",
            "ms",
            p99s,
            against={"no-op round trip": [1e3 * round_trip] * len(rounds)},
            goal=goal and 1e3 * goal,
            less_is_better=True,
        ),
    ]


async def _round_trip(limit: grpc.aio.Channel) -> float:
    """Return the median time of a call to the server that does nothing, in seconds."""
    stub: Any = QueueServiceStub(limit)
    request = queue_pb2.AddTasksRequest(project="bench", tasks=[queue_pb2.TaskSpec(id="a")])
    times = []
    for _ in range(_ROUND_TRIPS):
        begin = time.perf_counter()
        await stub.AddTasks(request)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
