"""Whether the user's repository can be written to, before anything depends on it."""

import tempfile
from pathlib import Path

from coord.errors import failed_precondition
from coord.room import full_disk


def check_writable(git_folder: Path) -> None:
    """Refuse a repository in which nothing can be kept.

    Raises:
        CoordError: FAILED_PRECONDITION with reason NOT_WRITABLE or DISK_FULL.
    """
    try:
        with tempfile.TemporaryFile(dir=git_folder):
            full = full_disk(git_folder)
    except OSError as error:
        raise failed_precondition(
            "NOT_WRITABLE",
            f"the repository cannot be written to ({git_folder}: {error.strerror}): Coord keeps"
            " branches and agents' work in it; make it writable, or work on a clone",
        ) from error
    if full:
        raise failed_precondition("DISK_FULL", full)
