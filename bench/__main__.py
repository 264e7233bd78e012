"""Runs benchmark suites.

python -m bench [SUITE ...]
"""

import argparse
import asyncio
import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

from bench import report
from bench.about import about

_OUT = Path(__file__).resolve().parent / "out"

# By name only: what a suite compares with need not be there for another.
SUITES = ("coordinator", "guard", "integrator", "limits", "queue", "spine", "strategies")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Runs benchmark suites.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"one of: {', '.join(SUITES)}")
    suites = parser.parse_args().suites or SUITES
    unknown = [suite for suite in suites if suite not in SUITES]
    if unknown:
        parser.error(f"there is no suite {unknown[0]!r}; there are: {', '.join(SUITES)}")
    for suite in suites:
        load = os.getloadavg()[0]
        rows = asyncio.run(_run(suite))
        path = report.write(_OUT, suite, rows, about(suite, load))
        print(f"{suite}\n{report.table(rows)}\n-> {path}", flush=True)


async def _run(suite: str) -> list[report.Row]:
    # Not in /tmp: where that is memory, a sync to disk costs nothing.
    _OUT.mkdir(exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix=f"{suite}-", dir=_OUT))
    try:
        rows: list[report.Row] = await import_module(f"bench.{suite}").run(state)
        return rows
    finally:
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
