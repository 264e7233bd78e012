"""Suite `integrator`: the radar beside git itself, and the merge queue beside others."""

from pathlib import Path

from bench.integrator import arrivals, demo_checks, makespans, pairs, seeing
from bench.parts import run_parts
from bench.report import Row


async def run(state: Path) -> list[Row]:
    return await run_parts(
        state, pairs.run, seeing.run, makespans.run, arrivals.run, demo_checks.run
    )
