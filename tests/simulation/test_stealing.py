"""Stealing, drain, cancel, completion and crashes raced against each other: some of many."""

from pathlib import Path

import pytest

from tests.simulation.stealing import history


@pytest.mark.parametrize("seed", range(6))
def test_raced_against_each_other_every_task_has_one_owner_and_ends_once(
    tmp_path: Path, seed: int
) -> None:
    history(tmp_path, seed)
