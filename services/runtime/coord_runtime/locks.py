"""The lock that makes a process the only owner of a folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

from coord.errors import failed_precondition


class FolderLock:
    """Held from its making until `release`, or until the process ends in any way.

    Raises:
        CoordError: FAILED_PRECONDITION with reason FOLDER_LOCKED; `pid` in the metadata says who
            holds it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: IO[str] = (folder / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read().strip()
            self._file.close()
            raise failed_precondition(
                "FOLDER_LOCKED",
                f"{folder} belongs to the running process {pid or 'unknown'}; end that one first",
                folder=str(folder),
                pid=pid,
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let the next one in."""
        self._file.close()
