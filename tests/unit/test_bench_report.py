"""The pure parts of the benchmarks: medians, ratios, spread and rows."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.about import about


def test_a_row_holds_the_median_and_how_far_the_rounds_lie_apart() -> None:
    row = report.row("case", "calls/s", [90.0, 100.0, 150.0])
    assert row.value == 100.0
    assert row.spread == pytest.approx(0.6)
    assert row.met is None


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was half as fast in the second round, for both sides.
    row = report.row("case", "calls/s", [80.0, 40.0, 80.0], against={"no-op": [100.0, 50.0, 100.0]})
    assert row.against == {"no-op": pytest.approx(0.8)}


@pytest.mark.parametrize(
    ("value", "less_is_better", "met"),
    [(2.0, False, True), (1.9, False, False), (2.0, True, True), (2.1, True, False)],
)
def test_a_goal_is_met_or_missed(value: float, less_is_better: bool, met: bool) -> None:
    row = report.row("case", "s", [value], goal=2.0, less_is_better=less_is_better)
    assert row.met is met


def test_the_share_of_the_limit_has_the_goal() -> None:
    sides = {"coord": [60.0, 70.0, 80.0], "no-op": [100.0, 100.0, 100.0]}
    figure, share = report.compared("case", "calls/s", sides, goal=0.75)
    assert (figure.value, figure.goal, figure.met) == (70.0, None, None)
    assert figure.against == {"no-op": pytest.approx(0.7)}
    assert share.value == pytest.approx(0.7)
    assert (share.goal, share.met) == (0.75, False)


def test_a_suite_is_written_with_its_rows_and_where_it_ran(tmp_path: Path) -> None:
    rows = [report.row("case", "s", [1.0], goal=2.0)]
    path = report.write(tmp_path / "out", "spine", rows, about("spine", 0.5))
    written = json.loads(path.read_text())
    (row,) = written["rows"]
    assert written["about"]["load"][0] == 0.5
    assert written["about"]["versions"]["grpcio"]
    assert path.name == "spine.json"
    assert row == {
        "case": "case",
        "value": 1.0,
        "unit": "s",
        "goal": 2.0,
        "met": False,
        "less_is_better": False,
        "against": {},
        "spread": None,
    }


def test_a_table_has_a_line_for_each_row() -> None:
    rows = [report.row("lease", "tasks/s", [1234.5], goal=1000.0), report.row("memory", "MiB", [9])]
    lines = report.table(rows).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["lease", "1,234", "tasks/s", "1,000", "yes"]
