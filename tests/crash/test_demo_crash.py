"""The short form of the crash campaign; `make crash` runs the long one."""

from pathlib import Path

import pytest

from tests.crash.campaign import Crashes


@pytest.mark.timeout(400)
@pytest.mark.parametrize("form", ["embedded", "split"])
def test_kills_at_random_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    crashes = Crashes(tmp_path, seed=2, split=form == "split", quick=True)
    assert crashes.run() == []
    assert crashes.faults
