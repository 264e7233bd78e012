"""Whether the user's repository can be written to, before anything depends on it."""

import shutil
import tempfile
from pathlib import Path

from coord.errors import failed_precondition

# Less than this is gone with the first worktree or two.
FREE_BYTES_MIN = 16 * 2**20


def check_writable(git_folder: Path) -> None:
    """Refuse a repository in which nothing can be kept.

    Raises:
        CoordError: FAILED_PRECONDITION with reason NOT_WRITABLE or DISK_FULL.
    """
    try:
        with tempfile.TemporaryFile(dir=git_folder):
            free_bytes = shutil.disk_usage(git_folder).free
    except OSError as error:
        raise failed_precondition(
            "NOT_WRITABLE",
            f"the repository cannot be written to ({git_folder}: {error.strerror}): Coord keeps"
            " branches and agents' work in it; make it writable, or work on a clone",
        ) from error
    if free_bytes < FREE_BYTES_MIN:
        raise failed_precondition(
            "DISK_FULL",
            f"only {free_bytes // 2**20} MiB are free on the disk of {git_folder}: free some, at"
            f" least {FREE_BYTES_MIN // 2**20} MiB",
        )
