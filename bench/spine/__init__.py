"""Suite `spine`: the calls of a task's life as a share of the limit, start and memory."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.report import Row
from bench.spine import host, money

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    money.run,
    host.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        rows += await part(state / str(number))
    return rows
