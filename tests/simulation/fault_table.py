"""Puts faults in, one at a time, and looks whether the simulation catches each.

python -m tests.simulation.fault_table --write docs/simulation.md

A fault is put in as its module is imported, in a process of its own.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from types import ModuleType

from tests.simulation.faults import FAULTS, Fault

_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"
_HOURS_MAX = 6.0


def caught_after(fault: Fault, hours_max: float) -> dict[str, object]:
    """Run histories with a fault, in a process of its own, until one breaks; return what came."""
    command = [sys.executable, "-m", "tests.simulation.fault_table", "--one", fault.name]
    command += ["--hours", str(hours_max)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Try faults; write the table into a document if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="only this fault, in this process")
    parser.add_argument("--faults", default="", help="only these, separated by commas")
    parser.add_argument("--hours", type=float, default=_HOURS_MAX, help="of virtual time at most")
    parser.add_argument("--write", type=Path, help="the document that has the table")
    options = parser.parse_args()
    known = {fault.name: fault for fault in FAULTS}
    if options.one:
        _print(json.dumps(_run(known[options.one], options.hours)))
        return
    rows = []
    for name in options.faults.split(",") if options.faults else known:
        fault = known[name]
        rows.append((fault, found := caught_after(fault, options.hours)))
        _print(f"{fault.name}: {json.dumps(found)}")
    if options.write:
        _write(options.write, rows)
    sys.exit(0 if all(found["broken"] for _, found in rows) else 1)


def _run(fault: Fault, hours_max: float) -> dict[str, object]:
    sys.meta_path.insert(0, _Importer(fault))
    simulate = importlib.import_module("tests.simulation.whole")
    plans = importlib.import_module("tests.simulation.plan")
    virtual_s = 0.0
    for seed in count():
        outcome = simulate.run(plans.Plan.worst(seed))
        virtual_s += outcome.virtual_s
        if outcome.broken or virtual_s > 3600 * hours_max:
            return {
                "seed": seed,
                "hours": round(virtual_s / 3600, 2),
                "broken": outcome.broken.splitlines()[0][:120] if outcome.broken else "",
            }
    raise AssertionError


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with a fault in it."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._source = fault.source()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        wanted = fullname == self._fault.module
        return importlib.util.spec_from_loader(fullname, self) if wanted else None

    def exec_module(self, module: ModuleType) -> None:
        code = compile(self._source, f"<{self._fault.name}>", "exec")
        exec(code, module.__dict__)


def _write(document: Path, rows: Sequence[tuple[Fault, dict[str, object]]]) -> None:
    text = document.read_text()
    head, rest = text.split(_BEGIN)
    _, tail = rest.split(_END)
    document.write_text(f"{head}{_BEGIN}\n{chr(10).join(_lines(rows))}\n{_END}{tail}")


def _lines(rows: Sequence[tuple[Fault, dict[str, object]]]) -> Iterator[str]:
    yield "| fault | where | caught after | by |"
    yield "|---|---|---|---|"
    for fault, found in rows:
        after = f"{found['hours']} h" if found["broken"] else f"not within {found['hours']} h"
        by = str(found["broken"]).replace("|", "/") or "-"
        yield f"| {fault.what} | `{fault.module}` | {after}, seed {found['seed']} | {by} |"


def _print(what: str) -> None:
    print(what, flush=True)  # noqa: T201 - what was found.


if __name__ == "__main__":
    main()
