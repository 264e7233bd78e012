"""What a report says of the checks of a change."""

import json
from collections.abc import Sequence
from pathlib import Path

from coord_cli.job import Ending
from coord_cli.report import AttemptLine, CheckLine, Report, TaskReport
from coord_cli.report_files import write_report
from coord_cli.summary import Summary, TaskLine


def test_a_run_with_other_changes_names_their_tasks(tmp_path: Path) -> None:
    text = _written(tmp_path, _run(False, others=["b", "c"]), _run(True))
    assert "[red with b, c in 1.0s](checks/a-1-1.txt), [green in 1.0s](checks/a-1-2.txt)" in text
    (task,) = json.loads((tmp_path / "report.json").read_text())["tasks"]
    (attempt,) = task["history"]
    assert [run["with"] for run in attempt["checks"]] == [["b", "c"], []]


def test_only_a_run_of_the_same_changes_is_one_again(tmp_path: Path) -> None:
    runs = _run(False), _run(False, others=["b"]), _run(True, of_target=True), _run(False)
    text = _written(tmp_path, *runs)
    assert _verdicts(text) == ["red", "red with b", "target green", "red again"]


def _run(passed: bool, *, others: Sequence[str] = (), of_target: bool = False) -> CheckLine:
    return CheckLine(passed, of_target, others, 0 if passed else 1, 10**9, "")


def _written(folder: Path, *runs: CheckLine) -> str:
    task = TaskLine("a", "", "COMPLETE", 1, 0, "1234", "", "")
    attempt = AttemptLine(1, "w1", "landed", "", 10**9, 0, "1234", "", runs)
    summary = Summary("run", Ending.FINISHED, [task], 10**9, 0, "main", "main", 0)
    return write_report(Report(summary, [TaskReport(task, [attempt])]), folder).read_text()


def _verdicts(text: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if "checks/a-1-1" in line]
    return [link.split("[")[1].split(" in ")[0] for link in line.split(", ") if "[" in link]
