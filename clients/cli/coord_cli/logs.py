"""`coord logs`: what an agent has printed."""

import asyncio
import sys
from pathlib import Path

import click
from coord.times import timestamp_ns
from coord.v1 import integrator_pb2, queue_pb2
from coord_host.endpoint import find
from coord_host.places import Place
from coord_worker.folders import log_path, task_logs

from coord_cli.check_runs import last_judgement, run_lines, target_runs
from coord_cli.command import (
    Services,
    UsageProblem,
    following,
    friendly_errors,
    json_option,
    looking,
    place_options,
    run_async,
)
from coord_cli.crew import work_folder
from coord_cli.output import as_dict, print_json
from coord_cli.report import change_of
from coord_cli.snapshot import FINAL

_POLL_S = 0.2
_CHUNK_BYTES = 2**16


@click.command()
@click.argument("task", default="")
@place_options
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has ended.")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt.  [default: the newest]")
@click.option("--check", is_flag=True, help="Print what the check has printed instead.")
@json_option
def logs(
    *, task: str, place: Place, follow: bool, attempt: int | None, check: bool, as_json: bool
) -> None:
    """Print what the agent of a task, or the check of its change, has printed.

    With --check and no TASK: what the check has printed on the target alone. Needs no running
    services. As JSON: which attempt it is and where its log is kept; with --check the runs of the
    check.
    """
    if not task and not check:
        raise click.UsageError("Missing argument 'TASK'.")
    if check:
        run_async(lambda: _checks(place, task, attempt, as_json=as_json))
    folder = work_folder(place)
    with friendly_errors():
        number = attempt or _newest(folder, task)
        if not follow and not log_path(folder, task, number).exists():
            raise UsageProblem(_missing(folder, task, attempt))
    if as_json:
        path = log_path(folder, task, number)
        print_json({"task": task, "attempt": number, "path": str(path)})
    elif follow:
        run_async(lambda: _follow(place, task, attempt))
    else:
        _copy(log_path(folder, task, number), 0)


async def _checks(place: Place, task: str, number: int | None, *, as_json: bool) -> None:
    async with looking(place) as services:
        runs = await _change_runs(services, task, number) if task else await target_runs(services)
    if not runs:
        raise UsageProblem(
            f"no check has been run for {repr(task) if task else 'the target alone'}"
        )
    if as_json:
        print_json([as_dict(run) for run in runs])
        return
    for run in runs:
        for line in run_lines(run):
            click.echo(line)


async def _change_runs(
    services: Services, task: str, number: int | None
) -> list[integrator_pb2.CheckRun]:
    """Return the runs that have decided last on a task's change, or why it has to wait."""
    request = queue_pb2.GetTaskRequest(project=services.project, task_id=task)
    found = (await services.queue.GetTask(request)).task
    wanted = [one for one in found.attempts if number in {None, one.number}]
    changes = [await change_of(services, task, one) for one in wanted]
    runs = next((last_judgement(one.runs) for one in reversed(changes) if one.runs), [])
    if found.state != queue_pb2.TASK_STATE_MERGING or number is not None:
        return runs
    since_ns = timestamp_ns(runs[0].judged_at) if runs else 0
    later = await target_runs(services)
    return runs + [run for run in later if timestamp_ns(run.judged_at) > since_ns]


def _missing(folder: Path, task: str, attempt: int | None) -> str:
    if attempt is not None and _newest(folder, task):
        return f"{task!r} has no attempt {attempt} here; its newest is {_newest(folder, task)}"
    return (
        f"there is no log of {task!r}: no agent has begun it; or a worker of your own has, which"
        " keeps none; or `coord clean` has removed it, as it does once a task is complete"
    )


def _newest(folder: Path, task: str) -> int:
    """Return the number of the attempt whose log was written last; 0 where there is none."""
    logs_folder = task_logs(folder, task)
    if not logs_folder.is_dir():
        return 0
    # Not the highest: those of a task that was removed and stored anew are counted anew.
    logs = [path for path in logs_folder.glob("*.log") if path.stem.isdigit()]
    return int(max(logs, key=_written, default=Path("0")).stem)


def _written(path: Path) -> tuple[int, int]:
    return path.stat().st_mtime_ns, int(path.stem)


def _copy(path: Path, offset: int) -> int:
    """Print what a log holds from an offset on; return where it ends now."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK_BYTES):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return file.tell()
    except FileNotFoundError:
        return offset


async def _follow(place: Place, task: str, attempt: int | None) -> None:
    if find(place) is None:
        # Nothing can be printed any more.
        _copy(log_path(work_folder(place), task, attempt or _newest(work_folder(place), task)), 0)
        return
    async with following(place) as services:
        await _copy_on(work_folder(place), services, task, attempt)


async def _copy_on(folder: Path, services: Services, task: str, attempt: int | None) -> None:
    number = offset = 0
    request = queue_pb2.GetTaskRequest(project=services.project, task_id=task)
    while True:
        found = (await services.queue.GetTask(request)).task
        newest = attempt or (found.attempts[-1].number if found.attempts else 0)
        if newest != number:
            _copy(log_path(folder, task, number), offset)
            number, offset = newest, 0
        offset = _copy(log_path(folder, task, number), offset)
        if found.state in FINAL:
            return
        await asyncio.sleep(_POLL_S)
