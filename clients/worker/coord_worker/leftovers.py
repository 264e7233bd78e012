"""What a killed worker has left behind: processes of its agents, and costs not reported."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from coord.session import Report
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2

from coord_worker import processes
from coord_worker.folders import AttemptFolder, ProcessRecord, worker_folder
from coord_worker.reports import Expenses
from coord_worker.watched import WatchedFile

_log = structlog.get_logger()


@dataclass(frozen=True)
class Leftover:
    """An attempt that an earlier worker of this name has not brought to its end."""

    files: AttemptFolder
    record: ProcessRecord

    @property
    def ref(self) -> common_pb2.AttemptRef:
        """Which attempt it is."""
        token = self.record.fencing_token
        return common_pb2.AttemptRef(task_id=self.record.task_id, fencing_token=token)


async def end_leftovers(folder: Path, worker: str, grace_s: float) -> list[Leftover]:
    """End the processes that an earlier worker of this name has left; return its attempts."""
    left = [one for path in _folders(folder, worker) if (one := _leftover(path)) is not None]
    for one in left:
        _log.info("ending what is left of an attempt", task=one.record.task_id, worker=worker)
        await processes.end(one.record, grace_s, own=False)
    return left


def remove_unbegun(folder: Path, worker: str) -> None:
    """Remove the folders of attempts whose agent was never let go."""
    for path in _folders(folder, worker):
        if _leftover(path) is None:
            shutil.rmtree(path, ignore_errors=True)


class Leftovers:
    """Brings attempts to their end that an earlier worker has left.

    Until the coordinator has acknowledged that end, an attempt is held, so that its task is given
    to nobody before its costs are booked.

    Args:
        send: Says something to the coordinator.
    """

    def __init__(self, send: Callable[[Report], asyncio.Future[None]]) -> None:
        self._send = send
        self._left: list[Leftover] = []

    @property
    def held(self) -> list[common_pb2.AttemptRef]:
        """The attempts whose end is not acknowledged."""
        return [one.ref for one in self._left]

    def report(self, one: Leftover) -> None:
        """Report what an attempt has cost, and then that its worker was killed.

        Costs that the predecessor had reported have no second effect: their ids are the same.
        """
        self._left.append(one)
        WatchedFile(one.files.cost, Expenses(one.ref, self._send).add_line).finish()
        failed = coordinator_pb2.Failed(
            attempt=one.ref,
            reason=queue_pb2.FAILURE_REASON_WORKER_LOST,
            message="its worker was killed",
        )
        self._send(failed).add_done_callback(lambda _: self._forget(one))

    def _forget(self, one: Leftover) -> None:
        self._left.remove(one)
        shutil.rmtree(one.files.path, ignore_errors=True)


def _folders(folder: Path, worker: str) -> list[Path]:
    attempts = worker_folder(folder, worker)
    found = sorted(attempts.iterdir()) if attempts.is_dir() else []
    return [path for path in found if path.is_dir()]


def _leftover(path: Path) -> Leftover | None:
    files = AttemptFolder(path)
    record = ProcessRecord.load(files.record)
    return None if record is None else Leftover(files, record)
