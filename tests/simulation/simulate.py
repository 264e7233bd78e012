"""Simulate the whole, history after history, each of its own seed, until one breaks.

python -m tests.simulation.simulate --seed 7 --hours 1
python -m tests.simulation.simulate --seed 7 --histories 1
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from tests.simulation.plan import KINDS, Plan
from tests.simulation.whole import Outcome, run

_TRIES_MAX = 60


def shrunk(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    """Return a plan that still breaks, and none of whose smaller ones does, as far as was tried.

    Args:
        plan: One that breaks.
        breaks: Tries another.
    """
    tries = count(1)
    smaller = plan.smaller()
    while (candidate := next(smaller, None)) is not None and next(tries) <= _TRIES_MAX:
        if breaks(candidate):
            plan = candidate
            smaller = plan.smaller()
    return plan


def main() -> None:
    """Run histories; exit with 1 where one breaks."""
    options = _options()
    report = options.report.open("a") if options.report else None
    broken = 0
    for outcome in _histories(options):
        if report:
            report.write(json.dumps(_told(outcome)) + "\n")
            report.flush()
        if outcome.broken:
            broken += 1
            _tell("\n".join((*outcome.tail, f"seed {outcome.plan.seed}: {outcome.broken}")))
            _tell(outcome.plan.command())
            if not options.keep_going:
                _tell_shrunk(outcome)
                break
    sys.exit(1 if broken else 0)


def _histories(options: argparse.Namespace) -> Iterator[Outcome]:
    """Run histories until there were enough of them, or of their hours."""
    virtual_s, done = 0.0, 0
    for seed in count(options.seed):
        outcome = run(_plan(options, seed))
        virtual_s, done = virtual_s + outcome.virtual_s, done + 1
        _tell(
            f"seed {seed}: {'BROKEN' if outcome.broken else 'well'}, {outcome.virtual_s:.0f} s,"
            f" {outcome.steps} steps, {sum(outcome.injected.values())} faults,"
            f" trace {outcome.digest[:16]}; {virtual_s / 3600:.2f} h so far"
        )
        yield outcome
        if done >= options.histories or virtual_s >= 3600 * options.hours:
            return


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    asked = {
        "storm_s": options.storm,
        "tasks": options.tasks,
        "workers": options.workers,
        "repository": options.repository,
        "kinds": options.kinds,
    }
    return replace(Plan.drawn(seed), **{key: one for key, one in asked.items() if one is not None})


def _tell_shrunk(outcome: Outcome) -> None:
    wanted = _what(outcome.broken)
    least = shrunk(outcome.plan, lambda smaller: _what(run(smaller).broken) == wanted)
    _tell(f"shrunk: {run(least).broken}\n{least.command()}")


def _what(broken: str) -> list[str]:
    """Return what broke, without the tasks, workers and times that it broke for."""
    return re.sub(r"\d+", "", broken).split(":")[:2]


def _told(outcome: Outcome) -> dict[str, Any]:
    plan = asdict(outcome.plan) | {"kinds": sorted(outcome.plan.kinds)}
    told = {key: value for key, value in vars(outcome).items() if key != "tail"}
    return told | {"plan": plan}


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(filter(None, text.split(","))) - {"none"}
    if unknown := kinds - set(KINDS):
        raise argparse.ArgumentTypeError(f"not {sorted(unknown)}, but of: {', '.join(KINDS)}")
    return kinds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--histories", type=float, default=math.inf, help="how many")
    parser.add_argument("--hours", type=float, default=math.inf, help="or of virtual time")
    parser.add_argument("--keep-going", action="store_true", help="also after one has broken")
    parser.add_argument("--report", type=Path, help="append a line of JSON for each history")
    parser.add_argument("--storm", type=float, help="how long things go wrong, in seconds")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repository", action=argparse.BooleanOptionalAction)
    parser.add_argument("--kinds", type=_kinds, help="what goes wrong, separated by commas")
    return parser.parse_args()


def _tell(what: str) -> None:
    print(what, flush=True)  # noqa: T201 - what was found.


if __name__ == "__main__":
    main()
