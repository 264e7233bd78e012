"""Suite `integrator`: the merge queue against others, in a model and with real checks."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.integrator import arrivals, makespans
from bench.report import Row

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    makespans.run,
    arrivals.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        folder = state / str(number)
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows
