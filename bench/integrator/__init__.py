"""Suite `integrator`: the conflict radar, beside git itself and the plain way."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.integrator import pairs, seeing
from bench.report import Row

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    pairs.run,
    seeing.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        folder = state / str(number)
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows
