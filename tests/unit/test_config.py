"""Where settings come from, and which one wins."""

from pathlib import Path
from typing import ClassVar

import pytest
from coord.errors import CoordError
from coord_runtime.config import SectionSettings, load
from coord_runtime.process import parse_flags


class Settings(SectionSettings):
    SECTION: ClassVar[str] = "queue"
    lease_s: float = 30.0
    name: str = "default"


def test_a_flag_beats_the_environment_which_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(Settings, {}).lease_s == 30.0
    file = tmp_path / "coord.toml"
    file.write_text('[queue]\nlease_s = 1\nname = "file"\n[ledger]\nother = true\n')
    assert load(Settings, {}, file).lease_s == 1.0
    monkeypatch.setenv("COORD_QUEUE_LEASE_S", "2")
    assert load(Settings, {}, file).lease_s == 2.0
    settings = load(Settings, parse_flags(["queue.lease_s=3", "ledger.x=a=b"]), file)
    assert (settings.lease_s, settings.name) == (3.0, "file")


@pytest.mark.parametrize("flag", ["queue.lease_s=soon", "queue.unknown=1"])
def test_a_wrong_setting_is_named(flag: str) -> None:
    with pytest.raises(CoordError) as caught:
        load(Settings, parse_flags([flag]))
    assert caught.value.reason == "INVALID_SETTING"
    assert flag.split("=", maxsplit=1)[0] in caught.value.message


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "coord.toml"
    file.write_text("[queue")
    with pytest.raises(CoordError, match=r"coord\.toml"):
        load(Settings, {}, file)
