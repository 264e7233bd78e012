"""The lock that makes a process the only owner of a folder."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO

import psutil
from coord.errors import failed_precondition

_LOOKS = 200
_LOOK_AGAIN_S = 0.01


class FolderLock:
    """Held from its making until `release`, or until the process ends in any way.

    A child that was forked a moment before its parent was killed holds the parent's lock until it
    executes its program: where the holder on record is dead, the making waits for that.

    Raises:
        CoordError: FAILED_PRECONDITION with reason FOLDER_LOCKED; `pid` in the metadata says who
            holds it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[str] = (folder / "lock").open("a+", encoding="ascii")
        looks = 1
        while not self._taken():
            pid = self._holder()
            if looks < _LOOKS and _is_dead(pid):
                looks += 1
                time.sleep(_LOOK_AGAIN_S)
                continue
            self._file.close()
            raise failed_precondition(
                "FOLDER_LOCKED",
                f"{folder} belongs to the running process {pid or 'unknown'}; end that one first",
                folder=str(folder),
                pid=pid,
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let the next one in."""
        self._file.close()

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip()


def _is_dead(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except ValueError:  # Not written yet.
        return False
