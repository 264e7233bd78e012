"""The short form of `make crash-worktrees`."""

from pathlib import Path

import pytest

from tests.crash import worktree_campaign


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [11])
def test_no_line_that_was_on_disk_at_a_kill_is_lost(tmp_path: Path, seed: int) -> None:
    history, problems = worktree_campaign.run(tmp_path, seed)
    assert problems == []
    assert history.kills > 0
    assert history.acts["append"] > 0
