"""Changes that arrive at random: how long each takes from its submission until it has landed."""

import statistics
from pathlib import Path

from bench.integrator.makespans import CHANGES, PUBLISHED, strategies
from bench.integrator.model import Make, Odds, World, latencies, makespan
from bench.report import Row, row

_LOAD = 0.8
_COUNT, _TRIALS = 200, 10
_RIVALS = ("serial", "train", "bisect")


async def run(state: Path) -> list[Row]:
    del state
    rows = []
    for odds in PUBLISHED:
        for loaded in ("serial", "train", "coord"):
            rows += _rows(odds, loaded)
    return rows


def _rows(odds: Odds, loaded: str) -> list[Row]:
    """Load all with a share of what one of them can do at most."""
    makes = strategies(odds)
    rate = _LOAD * _throughput(makes[loaded], odds)
    # As many clashes for each change as among the fewer of the other case.
    fewer = Odds(odds.fail, odds.clash * CHANGES / _COUNT, odds.flake)
    found = {name: _latencies(make, fewer, rate) for name, make in makes.items()}
    case = f"{_LOAD:.0%} of {loaded}'s throughput, fail {odds.fail}, clash {odds.clash}"
    return [_row(f"{case}: {name}", found, share) for name, share in (("median", 50), ("p95", 95))]


def _row(case: str, found: dict[str, list[float]], share: int) -> Row:
    figures = {
        name: [statistics.quantiles(times, n=100)[share - 1]] for name, times in found.items()
    }
    ours = figures.pop("coord")
    best = min(figures[name][0] for name in _RIVALS)
    return row(case, "runs", ours, against=figures, goal=best, less_is_better=True)


def _latencies(make: Make, odds: Odds, rate: float) -> list[float]:
    return [
        time for seed in range(_TRIALS) for time in latencies(make, World(seed, odds, _COUNT), rate)
    ]


def _throughput(make: Make, odds: Odds) -> float:
    worlds = [World(seed, odds, CHANGES) for seed in range(_TRIALS)]
    return CHANGES / statistics.mean(makespan(make, world) for world in worlds)
