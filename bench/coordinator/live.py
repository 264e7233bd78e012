"""What thousands of live workers cost that have nothing to do."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil

from bench.processes import python, started, token
from bench.report import Row, row
from bench.spine.host import host

# Of the second crowd, which is only tried, nothing is asked.
_WORKERS, _TRIED = 2_000, 10_000
_CLIENTS = 4
_SETTLE_S, _MEASURED_S = 5.0, 20.0
_MIB = 2**20
_MEMORY_MIB_MAX, _CORE_SHARE_MAX = 300.0, 0.15


async def run(state: Path) -> list[Row]:
    return [
        *await _live(state / "few", _WORKERS, _MEMORY_MIB_MAX, _CORE_SHARE_MAX),
        *await _live(state / "many", _TRIED),
    ]


async def _live(
    state: Path, workers: int, memory_goal: float | None = None, core_goal: float | None = None
) -> list[Row]:
    async with host(state) as running, AsyncExitStack() as crowds:
        secret = token(state / "state", running.project)
        share = workers // _CLIENTS
        joining = [
            crowds.enter_async_context(
                started(
                    python(
                        "bench.coordinator.crowd",
                        *(running.address, secret, running.project, str(at * share), str(share)),
                    )
                )
            )
            for at in range(_CLIENTS)
        ]
        begin = time.perf_counter()
        for one in joining:
            await one
        joined_s = time.perf_counter() - begin
        memory, core = await _measure(psutil.Process(running.pid))
    case = f"{workers:,} live workers"
    return [
        row(f"{case}: to connect, one after another client process", "s", [joined_s]),
        row(f"{case}: memory", "MiB", [memory], goal=memory_goal, less_is_better=True),
        row(f"{case}: share of a core", "share", [core], goal=core_goal, less_is_better=True),
    ]


async def _measure(process: psutil.Process) -> tuple[float, float]:
    """Return memory in MiB, and the share of a core that is used."""
    await asyncio.sleep(_SETTLE_S)
    before: Any = process.cpu_times()
    begin = time.perf_counter()
    await asyncio.sleep(_MEASURED_S)
    after: Any = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    memory: Any = process.memory_info()
    return memory.rss / _MIB, used_s / (time.perf_counter() - begin)
