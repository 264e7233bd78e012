"""Suite `limits`: grants and money against the limit, a race, and other limiters."""

from pathlib import Path

from bench.limits import acquire, peers, race, spend
from bench.parts import run_parts
from bench.report import Row


async def run(state: Path) -> list[Row]:
    return await run_parts(state, acquire.run, spend.run, race.run, peers.run)
