"""Suite `coordinator`: many live workers, messages between them, tasks over streams, unblocking."""

from pathlib import Path

from bench.coordinator import beside_dask, live, streams, unblocking
from bench.parts import run_parts
from bench.report import Row


async def run(state: Path) -> list[Row]:
    return await run_parts(state, streams.run, beside_dask.run, unblocking.run, live.run)
