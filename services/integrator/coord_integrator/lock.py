"""The lock in a git folder around what adds, removes or resets worktrees, in all processes."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

_NAME = "coord.lock"


def try_lock(folder: Path) -> int | None:
    """Return the file descriptor that holds a git folder's lock; None where another has it."""
    return _try(folder / _NAME, os.O_CREAT)


def remove_lock(folder: Path) -> None:
    """Remove a git folder's lock, unless somebody holds it."""
    with suppress(FileNotFoundError):
        if (descriptor := _try(folder / _NAME, 0)) is not None:
            (folder / _NAME).unlink()
            os.close(descriptor)


def _try(path: Path, flags: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever has removed the file meanwhile has let others make a new one.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
