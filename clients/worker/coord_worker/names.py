"""Which process has workers of which names: two of one name would end each other's agents."""

import contextlib
import fcntl
from collections.abc import Sequence
from pathlib import Path


def claim(folder: Path, names: Sequence[str]) -> contextlib.ExitStack | None:
    """Keep names for the workers of this process, all or none.

    Args:
        folder: Where workers keep logs and the files of attempts.
        names: The workers.

    Returns:
        What gives them back when it is closed, as the end of the process does. None where another
        process has one of them.
    """
    (folder / "names").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as taken:
        for name in names:
            file = taken.enter_context((folder / "names" / name).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
        return taken.pop_all()
