"""Faults inside the programs of a history: imported by every Python before anything else.

The folder `FAULTS_FOLDER` says which: `clock` holds how many nanoseconds the wall clock is off, and
the first program to do something on disk, or to start another, while `armed` is there dies of it,
and adds what it was about to do to `died`.
"""

import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

# What leaves traces: a kill is put right before it.
_EVENTS = frozenset({"os.mkdir", "os.remove", "os.rename", "os.truncate", "subprocess.Popen"})
_ODDS = 0.2


def set_clock(offset: mmap.mmap) -> None:
    """Let the wall clock go as a file says, which Coord reads as `time_ns`.

    gRPC compares what it reads as `time` with the machine's clock, which has not moved.
    """
    true_ns: Callable[[], int] = time.time_ns

    def now_ns() -> int:
        return true_ns() + int.from_bytes(offset[:8], "little", signed=True)

    time.time_ns = now_ns


def arm(armed: str, died: str) -> None:
    """Let the program die at some step while a file is there, and let no other die of it."""
    chance = random.SystemRandom()

    def die_perhaps(event: str, _: tuple[object, ...]) -> None:
        if event not in _EVENTS or chance.random() > _ODDS or not os.path.exists(armed):  # noqa: PTH110 - quick.
            return
        try:
            os.rmdir(armed)  # noqa: PTH106 - one that raises no event of its own kind.
        except OSError:
            return
        note(died, f"{os.getpid()} {event}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_perhaps)


def note(path: str, line: str) -> None:
    """Add a line to a file."""
    with open(path, "a") as file:  # noqa: PTH123 - likewise quick.
        file.write(line)


if folder := os.environ.get("FAULTS_FOLDER"):
    with Path(folder, "clock").open("r+b") as file:
        set_clock(mmap.mmap(file.fileno(), 8))
    arm(str(Path(folder, "armed")), str(Path(folder, "died")))
