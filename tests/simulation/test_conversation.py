"""Workers that talk through faults: some of the campaign's histories, and those that broke once."""

from pathlib import Path

import pytest
from coord_coordinator import streams

from tests.simulation.conversation import history

# 682 and 838: a claim that was refused, asked for again after a restart, and granted to nobody.
_SEEDS = (*range(10), 682, 838)


@pytest.mark.parametrize("seed", _SEEDS)
def test_nothing_said_is_lost_repeated_or_left_unanswered(tmp_path: Path, seed: int) -> None:
    history(tmp_path, seed)


def test_who_is_cut_off_while_the_coordinator_has_no_room_says_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_INBOX_MAX", 1)
    for seed in (12, 28):  # Both once lost a message.
        folder = tmp_path / str(seed)
        folder.mkdir()
        history(folder, seed)
