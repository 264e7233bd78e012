"""Rows of a benchmark: medians, ratios, spread; as a table and as JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.about import About

OURS = "coord"


@dataclass(frozen=True)
class Row:
    """One figure of a suite.

    Attributes:
        case: What was measured.
        value: The median over the rounds.
        unit: Of the value and the goal.
        goal: What the value is to reach (or, where less is better, to stay below); None for none.
        met: Whether it does; None without a goal.
        less_is_better: Whether the goal is not to be passed.
        against: Median, over the rounds, of the value divided by that of another side.
        spread: Difference of the largest and the smallest round, as a share of the median; None
            where there was one round.
    """

    case: str
    value: float
    unit: str
    goal: float | None = None
    met: bool | None = None
    less_is_better: bool = False
    against: Mapping[str, float] = field(default_factory=dict)
    spread: float | None = None


def spread(rounds: Sequence[float]) -> float | None:
    if len(rounds) < 2:
        return None
    middle = statistics.median(rounds)
    return (max(rounds) - min(rounds)) / middle if middle else 0.0


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide round by round: neighbours in time had the same machine to themselves."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def row(
    case: str,
    unit: str,
    rounds: Sequence[float],
    *,
    against: Mapping[str, Sequence[float]] | None = None,
    goal: float | None = None,
    less_is_better: bool = False,
) -> Row:
    value = statistics.median(rounds)
    met = None if goal is None else (value <= goal if less_is_better else value >= goal)
    shares = {
        name: statistics.median(ratios(rounds, theirs)) for name, theirs in (against or {}).items()
    }
    return Row(case, value, unit, goal, met, less_is_better, shares, spread(rounds))


def compared(
    case: str,
    unit: str,
    sides: Mapping[str, Sequence[float]],
    goal: float | None = None,
    value_goal: float | None = None,
) -> list[Row]:
    """Return a row with our figure, and one with its share of the no-op's.

    Args:
        case: What was measured.
        unit: Of the figures.
        sides: The rounds of each side.
        goal: What the share is to reach.
        value_goal: What our figure is to reach.
    """
    ours = sides[OURS]
    others = {name: rounds for name, rounds in sides.items() if name != OURS}
    share = ratios(ours, others["no-op"])
    return [
        row(case, unit, ours, against=others, goal=value_goal),
        row(f"{case}: share of no-op", "share", share, goal=goal),
    ]


def table(rows: Sequence[Row]) -> str:
    lines: list[tuple[str, ...]] = [("case", "value", "unit", "goal", "met", "against", "spread")]
    lines += [_cells(one) for one in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(_line(line, widths) for line in lines)


def write(folder: Path, suite: str, rows: Sequence[Row], where: About) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{suite}.json"
    found = {"about": asdict(where), "rows": [asdict(one) for one in rows]}
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def _cells(one: Row) -> tuple[str, ...]:
    goal = "" if one.goal is None else _number(one.goal)
    met = "" if one.met is None else ("yes" if one.met else "no")
    against = ", ".join(f"{name} {ratio:.2f}" for name, ratio in one.against.items())
    apart = "" if one.spread is None else f"{one.spread:.0%}"
    return one.case, _number(one.value), one.unit, goal, met, against, apart


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join((first, *rest)).rstrip()
