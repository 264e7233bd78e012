"""Workers that talk through faults: some of the campaign's histories, and those that broke once."""

from pathlib import Path

import pytest

from tests.simulation.conversation import history

# 682 and 838: a claim that was refused, asked for again after a restart, and granted to nobody.
_SEEDS = (*range(10), 682, 838)


@pytest.mark.parametrize("seed", _SEEDS)
def test_nothing_said_is_lost_repeated_or_left_unanswered(tmp_path: Path, seed: int) -> None:
    history(tmp_path, seed)
