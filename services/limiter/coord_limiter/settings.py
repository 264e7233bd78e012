"""The limiter's settings."""

from typing import ClassVar

from coord_runtime.config import SectionSettings
from pydantic import Field


class LimiterSettings(SectionSettings):
    """Section `limiter`.

    Attributes:
        grant_ttl_s: How long a grant is remembered; if nobody settles it by then, its estimate
            stands.
        lane_age_s: After how long in line a request moves up by a lane.
    """

    SECTION: ClassVar[str] = "limiter"

    grant_ttl_s: float = Field(default=600, gt=0, le=86_400)
    lane_age_s: float = Field(default=60, gt=0)
