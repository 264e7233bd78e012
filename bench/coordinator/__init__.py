"""Suite `coordinator`: many live workers, messages between them, tasks over streams, unblocking."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.coordinator import beside_dask, live, streams, unblocking
from bench.report import Row

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    streams.run,
    beside_dask.run,
    unblocking.run,
    live.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        rows += await part(state / str(number))
    return rows
