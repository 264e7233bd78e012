"""Whether a host stays as it is under steady work: memory, files, sockets, threads, waits.

python -m bench.soak [MINUTES]
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import report
from bench.about import about
from bench.pairs import Pairs
from bench.spine.host import host

_OUT = Path(__file__).resolve().parent / "out"
_WORKERS, _TASKS_A_SECOND = 200, 20
_ROUND_S = 15.0
_FLAT = 0.05
_MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """How a host is after a round.

    Attributes:
        memory: Resident, in MiB.
        files: How many are open, sockets included.
        sockets: How many connections it has.
        threads: How many it has.
        p99: From the completion of a dependency until its dependent is at a worker, in ms.
    """

    memory: float
    files: float
    sockets: float
    threads: float
    p99: float


async def soak(state: Path, minutes: float) -> list[Sample]:
    """Let workers work for a while; return a sample a round."""
    samples = []
    async with host(state) as running:
        process = psutil.Process(running.pid)
        pairs = Pairs(running.channel, running.project, _WORKERS)
        async with pairs.workers():
            for _ in range(max(6, round(60 * minutes / _ROUND_S))):
                waits, _ = await pairs.measure(_TASKS_A_SECOND, _ROUND_S)
                samples.append(_sample(process, waits))
    return samples


def _sample(process: psutil.Process, waits: Sequence[float]) -> Sample:
    memory: Any = process.memory_info()
    return Sample(
        memory=memory.rss / _MIB,
        files=process.num_fds(),
        sockets=len(process.net_connections("all")),
        threads=process.num_threads(),
        p99=1e3 * statistics.quantiles(waits, n=100)[98],
    )


def rows(samples: Sequence[Sample]) -> list[report.Row]:
    """Compare the last third of the samples with the second: the first is the warming up."""
    third = len(samples) // 3
    found = []
    for name in ("memory", "files", "sockets", "threads", "p99"):
        values = [float(getattr(one, name)) for one in samples]
        before, after = values[third : 2 * third], values[2 * third :]
        growth = statistics.median(after) / statistics.median(before) - 1
        unit = {"memory": "MiB", "p99": "ms"}.get(name, "")
        found.append(report.row(f"{name}: last third", unit, after))
        found.append(
            report.row(f"{name}: growth", "share", [growth], goal=_FLAT, less_is_better=True)
        )
    return found


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    _OUT.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    state = Path(tempfile.mkdtemp(prefix="soak-", dir=_OUT))
    try:
        samples = asyncio.run(soak(state, minutes))
    finally:
        shutil.rmtree(state)
    for sample in samples:
        print(json.dumps(asdict(sample)))
    found = rows(samples)
    path = report.write(_OUT, "soak", found, about("soak", load))
    print(f"{report.table(found)}\n-> {path}")


if __name__ == "__main__":
    main()
