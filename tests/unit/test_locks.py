"""A folder's lock outlives its holder only for as long as a child takes to become a program."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from coord.errors import CoordError
from coord_runtime import locks
from coord_runtime.locks import FolderLock

_KILLED_BETWEEN_FORK_AND_EXECUTION = """
import os, sys
from pathlib import Path
from coord_runtime.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if os.fork():
    os.kill(os.getpid(), 9)
sys.stdin.read()
"""


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A child that holds the lock of its dead parent until what is yielded is closed."""
    command = [sys.executable, "-c", _KILLED_BETWEEN_FORK_AND_EXECUTION, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.wait() == -signal.SIGKILL
        yield parent.stdin


def test_a_child_of_a_killed_holder_is_waited_for(tmp_path: Path, left_behind: IO[bytes]) -> None:
    soon = threading.Timer(0.1, left_behind.close)
    soon.start()
    FolderLock(tmp_path).release()
    soon.join()


def test_a_child_that_goes_on_holding_the_lock_is_not_waited_for_for_ever(
    tmp_path: Path, left_behind: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_LOOKS", 5)
    with pytest.raises(CoordError) as caught:
        FolderLock(tmp_path)
    assert caught.value.reason == "FOLDER_LOCKED"
    assert not left_behind.closed
