"""Suite `integrator`: the conflict radar, beside git itself and the plain way."""

from pathlib import Path

from bench.integrator import pairs, seeing
from bench.report import Row


async def run(state: Path) -> list[Row]:
    return [*await pairs.run(state / "pairs"), *await seeing.run(state / "seeing")]
