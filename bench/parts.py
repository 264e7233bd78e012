"""Suites of several parts, each with a folder of its own."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.report import Row


async def run_parts(state: Path, *parts: Callable[[Path], Awaitable[list[Row]]]) -> list[Row]:
    """Run parts one after another; return all rows."""
    rows: list[Row] = []
    for number, part in enumerate(parts):
        folder = state / str(number)
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows
