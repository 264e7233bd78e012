"""What a worker that died has left behind: processes of its agents, and costs not reported."""

import shutil
from collections.abc import Callable
from pathlib import Path

import structlog
from coord.session import Report
from coord.v1 import common_pb2

from coord_worker import processes
from coord_worker.folders import AttemptFolder, ProcessRecord, worker_folder
from coord_worker.reports import Expenses
from coord_worker.watched import WatchedFile

_log = structlog.get_logger()


async def end_leftovers(folder: Path, worker: str, grace_s: float) -> list[AttemptFolder]:
    """End the processes that an earlier worker of this name has left.

    Returns:
        The folders of its attempts, for `report_costs`.
    """
    attempts = worker_folder(folder, worker)
    found = sorted(attempts.iterdir()) if attempts.is_dir() else []
    left = [AttemptFolder(path) for path in found if path.is_dir()]
    for files in left:
        record = ProcessRecord.load(files.record)
        if record is not None:
            _log.info("ending what is left of an attempt", task=record.task_id, worker=worker)
            await processes.end(record, grace_s, own=False)
    return left


def report_costs(left: list[AttemptFolder], send: Callable[[Report], object]) -> None:
    """Report the costs of attempts that were left, and remove their files.

    Costs that the predecessor had reported have no second effect: their ids are the same.
    """
    for files in left:
        record = ProcessRecord.load(files.record)
        if record is not None:
            ref = common_pb2.AttemptRef(task_id=record.task_id, fencing_token=record.fencing_token)
            WatchedFile(files.cost, Expenses(ref, send).add_line).finish()
        shutil.rmtree(files.path, ignore_errors=True)
