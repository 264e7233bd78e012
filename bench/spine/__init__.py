"""Suite `spine`: the whole host: how soon it is ready, and what it takes at rest."""

from pathlib import Path

from bench.report import Row
from bench.spine import host


async def run(state: Path) -> list[Row]:
    return await host.run(state)
