"""Suite `queue`: calls against the limit, jobs against other queues, a million tasks, waiting."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.queue import calls, jobs, scale, waiting
from bench.report import Row

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    calls.run,
    waiting.run,
    jobs.run,
    scale.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        folder = state / str(number)
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows
