"""Writes the figures of the last runs into docs/benchmarks.md, with plots.

python -m bench.document

What stands between `<!-- figures SUITE -->`, or `<!-- missed -->`, and `<!-- end -->` is replaced;
the rest is written by hand. The figures are kept in docs/benchmarks/, so that a suite that was not
run keeps its last ones.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_ROOT = Path(__file__).resolve().parent
_OUT = _ROOT / "out"
_PAGE = _ROOT.parent / "docs" / "benchmarks.md"
_KEPT = _PAGE.with_suffix("")
_BLOCK = re.compile(r"(<!-- (figures (\w+)|missed) -->\n).*?(<!-- end -->)", re.DOTALL)
_BARS_MAX = 8.0
_LABEL_CHARS = 70


def main() -> None:
    _KEPT.mkdir(exist_ok=True)
    for path in _OUT.glob("*.json"):
        shutil.copy(path, _KEPT)
    suites = {path.stem: json.loads(path.read_text()) for path in sorted(_KEPT.glob("*.json"))}
    # The same bytes for the same figures, and text as text.
    mpl.rcParams.update({"svg.hashsalt": "coord", "svg.fonttype": "none"})
    for name, run in suites.items():
        _draw(name, run["rows"])

    def replaced(block: re.Match[str]) -> str:
        begin, _, suite, end = block.groups()
        if suite and suite not in suites:
            return block[0]
        lines = _figures(suite, suites[suite]) if suite else _missed(suites)
        return "".join([begin, *(f"{line}\n" for line in lines), end])

    _PAGE.write_text(_BLOCK.sub(replaced, _PAGE.read_text()))


def _missed(suites: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each goal that is missed, or what says that none is."""
    missed = [
        f"- {row['case']}: {_number(row['value'])} {row['unit']}, goal {_number(row['goal'])}"
        for run in suites.values()
        for row in run["rows"]
        if row["met"] is False
    ]
    yield from missed or ["None."]


def _figures(suite: str, run: dict[str, Any]) -> Iterator[str]:
    about = run["about"]
    versions = ", ".join(f"{name} {one}" for name, one in about["versions"].items())
    before, after = about["load"]
    yield f"{about['when']} UTC, commit {about['commit']}, on {about['machine']}."
    yield f"Load average {before:.1f} at the beginning and {after:.1f} at the end. {versions}."
    yield ""
    yield "| case | value | unit | goal | met | beside | spread |"
    yield "|---|---|---|---|---|---|---|"
    for row in run["rows"]:
        yield f"| {' | '.join(_cells(row))} |"
    if any(row["goal"] for row in run["rows"]):
        yield ""
        yield f"![{suite}: figures as shares of their goals]({_KEPT.name}/{suite}.svg)"


def _cells(row: dict[str, Any]) -> Iterator[str]:
    yield row["case"]
    yield _number(row["value"])
    yield row["unit"]
    yield "" if row["goal"] is None else _number(row["goal"])
    yield {None: "", True: "yes", False: "**no**"}[row["met"]]
    yield ", ".join(f"{ratio:.2f} of {name}" for name, ratio in row["against"].items())
    yield "" if row["spread"] is None else f"{row['spread']:.0%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _draw(suite: str, rows: list[dict[str, Any]]) -> None:
    """Draw each figure with a goal as a bar: how many times the goal it is, more being better."""
    aims = [row for row in rows if row["goal"]]
    if not aims:
        return
    figure = Figure(figsize=(9, 0.4 * len(aims) + 0.9), layout="constrained")
    axes = figure.subplots()
    reached = [min(_reached(row), _BARS_MAX) for row in aims]
    colours = ["tab:green" if row["met"] else "tab:red" for row in aims]
    bars = axes.barh([_label(row["case"]) for row in aims], reached, color=colours)
    axes.bar_label(bars, [f"{_reached(row):.2g}" for row in aims], padding=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(f"times the goal, cut off at {_BARS_MAX:.0f}; right of the line it is met")
    figure.savefig(_KEPT / f"{suite}.svg", metadata={"Date": None})


def _reached(row: dict[str, Any]) -> float:
    value, goal = row["value"], row["goal"]
    return float(goal / value if row["less_is_better"] else value / goal) if value else _BARS_MAX


def _label(case: str) -> str:
    return case if len(case) <= _LABEL_CHARS else f"{case[:_LABEL_CHARS]}..."


if __name__ == "__main__":
    main()
