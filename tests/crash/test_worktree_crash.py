"""The short form of `make crash-worktrees`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = [sys.executable, "-m", "tests.crash.worktree_campaign", "--histories", "1", "--first"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [11])
def test_no_line_that_was_on_disk_at_a_kill_is_lost(seed: int) -> None:
    # In a process of its own: it leaves one that forks others.
    root = Path(__file__).parents[2]
    command = [*_COMMAND, str(seed)]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["wrong"], told["kills"] > 0, told["acts"]["append"] > 0) == (0, True, True)
