"""64 changes that are ready at once, eight slots."""

import statistics
from functools import partial
from pathlib import Path

from bench.integrator.model import Make, Odds, World, makespan
from bench.integrator.queues import Bisect, ScreenAndCertify, Train, history
from bench.report import Row, row

CHANGES, SLOTS = 64, 8
# Those of which the published simulation of merge queues tells, and its makespans for the same
# strategy as ours.
PUBLISHED = {
    Odds(0.02, 0.0005, 0.02): 6.3,
    Odds(0.10, 0.001, 0.02): 9.5,
    Odds(0.30, 0.001, 0.02): 13.5,
    Odds(0.05, 0.01, 0.02): 22.6,
}
_TRIALS = 100
_WRONG_MAX = 0.05
# The size of batch that serves bisection best in the model.
_BATCH = 8


def strategies(odds: Odds) -> dict[str, Make]:
    seen = history(odds.fail)
    return {
        "coord": partial(ScreenAndCertify, slots=SLOTS, history=seen),
        "serial": partial(Bisect, size=1),
        "train": partial(Train, slots=SLOTS),
        "bisect": partial(Bisect, size=_BATCH),
    }


async def run(state: Path) -> list[Row]:
    del state
    return [one for odds, published in PUBLISHED.items() for one in _rows(odds, published)]


def _rows(odds: Odds, published: float) -> list[Row]:
    spans: dict[str, float] = {}
    wrong: dict[str, float] = {}
    for name, make in strategies(odds).items():
        worlds = [World(seed, odds, CHANGES) for seed in range(_TRIALS)]
        spans[name] = statistics.mean(makespan(make, world) for world in worlds)
        wrong[name] = statistics.mean(world.wrongly_rejected for world in worlds)
    case = f"{CHANGES} ready, fail {odds.fail}, clash {odds.clash}, flake {odds.flake}"
    others = {name: [span] for name, span in spans.items() if name != "coord"}
    return [
        row(
            f"{case}: makespan",
            "runs",
            [spans["coord"]],
            against=others,
            goal=1.1 * published,
            less_is_better=True,
        ),
        row(
            f"{case}: wrongly rejected",
            "changes",
            [wrong["coord"]],
            goal=_WRONG_MAX,
            less_is_better=True,
        ),
    ]
