"""Suite `limits`: grants and money against the limit, a race, and other limiters."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.limits import acquire, peers, race, spend
from bench.report import Row

_PARTS: tuple[Callable[[Path], Awaitable[list[Row]]], ...] = (
    acquire.run,
    spend.run,
    race.run,
    peers.run,
)


async def run(state: Path) -> list[Row]:
    rows: list[Row] = []
    for number, part in enumerate(_PARTS):
        rows += await part(state / str(number))
    return rows
