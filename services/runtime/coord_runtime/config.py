"""Settings: flags, then the environment (`COORD_*`), then a TOML file, then defaults.

Each service has a section: `lease_s` of the queue is `--set queue.lease_s=30`, or
`COORD_QUEUE_LEASE_S=30`, or `lease_s = 30` below `[queue]`.
"""

import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from coord.errors import CoordError, invalid_argument
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

S = TypeVar("S", bound="SectionSettings")
Sections = dict[str, dict[str, Any]]


class SectionSettings(BaseSettings):
    """Settings of one section. Times are in seconds, and their names end in `_s`."""

    SECTION: ClassVar[str]
    model_config = SettingsConfigDict(extra="forbid", frozen=True)


def load(settings: type[S], flags: Sections, file: Path | None = None) -> S:
    """Return the settings of one section.

    Args:
        settings: The class, which names its section.
        flags: Values by section and key that win over everything else.
        file: A TOML file with a table for each section.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_SETTING, naming every wrong key.
    """
    section = settings.SECTION
    from_file = _read(file).get(section, {}) if file else {}

    class Loaded(settings):  # type: ignore[misc, valid-type]
        model_config = SettingsConfigDict(env_prefix=f"COORD_{section.upper()}_")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            **_: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, from_file)

    try:
        return Loaded(**flags.get(section, {}))
    except ValidationError as error:
        raise _invalid(section, error) from None


def _read(file: Path) -> Sections:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise invalid_argument("INVALID_SETTING", f"{file}: {error}") from None


def _invalid(section: str, error: ValidationError) -> CoordError:
    lines = [
        f"{section}.{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
        for detail in error.errors()
    ]
    return invalid_argument("INVALID_SETTING", "; ".join(lines))
