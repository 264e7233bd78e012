"""The report of a run as files: Markdown for people, JSON for programs, and the checks' output."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from coord.environment import SYSTEM
from coord_worker.folders import encode

from coord_cli.amounts import format_exact, format_money
from coord_cli.report import AttemptLine, CheckLine, Report, TaskReport
from coord_cli.summary import as_json, headline, hints

_ATTEMPTS = (
    *("task", "attempt", "worker", "result", "time", "cost"),
    *("commit", "checks", "kept as", "message"),
)
_CELL_CHARS_MAX = 300


def default_folder(state: Path, run: str) -> Path:
    """Return a folder for the report of a run that ends now."""
    now = datetime.fromtimestamp(SYSTEM.now_ns() / 1e9, UTC)
    return state / "reports" / f"{now:%Y%m%d-%H%M%S}-{encode(run)}"


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.md`, `report.json` and the output of the checks; return the first's path.

    Raises:
        OSError: The folder cannot be written.
    """
    (folder / "checks").mkdir(parents=True, exist_ok=True)
    for task in report.tasks:
        for attempt in task.attempts:
            for number, check in enumerate(attempt.checks, start=1):
                name = _check_path(task, attempt, number)
                (folder / name).write_text(check.output)
    text = json.dumps(_report_json(report), indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n")
    path = folder / "report.md"
    path.write_text("\n".join(_markdown(report)) + "\n")
    return path


def _check_path(task: TaskReport, attempt: AttemptLine, number: int) -> str:
    return f"checks/{encode(task.task.id)}-{attempt.number}-{number}.txt"


def _report_json(report: Report) -> dict[str, Any]:
    found = as_json(report.summary)
    for task, line in zip(report.tasks, found["tasks"], strict=True):
        line["history"] = [_attempt_json(task, attempt) for attempt in task.attempts]
    return found | {"next_steps": list(hints(report.summary))}


def _attempt_json(task: TaskReport, attempt: AttemptLine) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "result": attempt.result,
        "message": attempt.message,
        "elapsed_s": round(attempt.elapsed_ns / 1e9, 3),
        "cost_usd": attempt.cost_nanos / 1e9,
        "commit": attempt.commit,
        "kept": attempt.kept,
        "checks": [
            {
                "passed": check.passed,
                "of_target": check.of_target,
                "with": list(check.others),
                "exit_status": check.exit_status,
                "elapsed_s": round(check.elapsed_ns / 1e9, 3),
                "output": _check_path(task, attempt, number),
            }
            for number, check in enumerate(attempt.checks, start=1)
        ],
    }


def _markdown(report: Report) -> Iterator[str]:
    summary = report.summary
    yield f"# {summary.run}\n"
    yield f"{headline(summary)}\n"
    yield _checks_line(report) + "\n"
    yield from _table(("landed", "attempts", "cost", "commit", "title"), _landed(report))
    if summary.left:
        yield "## Not landed\n"
        rows = [(one.id, one.state, one.reason, one.message) for one in summary.left]
        yield from _table(("task", "state", "reason", "why"), rows)
    if steps := list(hints(summary)):
        yield "## Next steps\n"
        yield from (f"- {step}" for step in steps)
        yield ""
    yield "## Attempts\n"
    yield from _table(_ATTEMPTS, _attempt_rows(report))


def _checks_line(report: Report) -> str:
    checks = [check for task in report.tasks for one in task.attempts for check in one.checks]
    red = sum(not check.passed for check in checks)
    time = format_exact(sum(check.elapsed_ns for check in checks))
    attempts = sum(len(task.attempts) for task in report.tasks)
    return f"Attempts: {attempts}. Checks: {len(checks)} in {time}, {red} of them red."


def _landed(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            one.id,
            str(one.attempts),
            format_money(one.cost_nanos),
            one.commit[:10] or "no change",
            one.title,
        )
        for one in report.summary.landed
    ]


def _attempt_rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            task.task.id,
            str(one.number),
            one.worker,
            one.result,
            format_exact(one.elapsed_ns),
            format_money(one.cost_nanos),
            one.commit[:10],
            ", ".join(_check_cells(task, one)),
            "" if one.commit else one.kept,
            one.message,
        )
        for task in report.tasks
        for one in task.attempts
    ]


def _check_cells(task: TaskReport, attempt: AttemptLine) -> Iterator[str]:
    for number, check in enumerate(attempt.checks, start=1):
        path = _check_path(task, attempt, number)
        what = _verdict(check, attempt.checks[: number - 1])
        yield f"[{what} in {format_exact(check.elapsed_ns)}]({quote(path)})"


def _verdict(check: CheckLine, earlier: Sequence[CheckLine]) -> str:
    verdict = "green" if check.passed else "red"
    if check.of_target:
        return f"target {verdict}"
    if check.others:
        verdict += f" with {', '.join(check.others)}"
    return f"{verdict} again" if any(_same(check, one) for one in earlier) else verdict


def _same(one: CheckLine, other: CheckLine) -> bool:
    return (one.of_target, one.others) == (other.of_target, other.others)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield _row(columns)
    yield _row(("---",) * len(columns))
    for row in rows:
        yield _row(tuple(map(_cell, row)))
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= _CELL_CHARS_MAX else f"{line[:_CELL_CHARS_MAX]}..."
