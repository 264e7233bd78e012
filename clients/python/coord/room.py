"""Room on the disks that Coord depends on."""

import shutil
from pathlib import Path

# Less than this is gone with the first worktree or two.
FREE_BYTES_MIN = 16 * 2**20


def full_disk(*folders: Path) -> str:
    """Say whose disk is full, and what to do about it; empty where there is room for each."""
    for folder in folders:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < FREE_BYTES_MIN:
            return (
                f"only {free_bytes // 2**20} MiB are free on the disk of {folder}: free some, at"
                f" least {FREE_BYTES_MIN // 2**20} MiB"
            )
    return ""
