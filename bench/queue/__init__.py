"""Suite `queue`: calls against the limit, jobs against other queues, a million tasks, waiting."""

from pathlib import Path

from bench.parts import run_parts
from bench.queue import calls, jobs, scale, waiting
from bench.report import Row


async def run(state: Path) -> list[Row]:
    return await run_parts(state, calls.run, waiting.run, jobs.run, scale.run)
