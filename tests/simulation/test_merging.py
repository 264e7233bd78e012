"""The merge queue under everything that goes wrong: some of many histories."""

from pathlib import Path

import pytest

from tests.simulation.merging import history


@pytest.mark.parametrize("seed", range(12))
def test_the_target_stays_green_and_every_change_ends_once(tmp_path: Path, seed: int) -> None:
    history(tmp_path, seed)
