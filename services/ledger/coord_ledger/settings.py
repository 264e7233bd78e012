"""The ledger's settings."""

from pathlib import Path
from typing import ClassVar, Literal

from coord_runtime.config import SectionSettings
from pydantic import Field


class LedgerSettings(SectionSettings):
    """Section `ledger`.

    Attributes:
        expiry_interval_s: How often reservations are looked over for those that have expired.
        expired: What happens to what an expired reservation still holds: it is posted, since it may
            have been spent, or released.
        prices: A TOML file with prices of models that come before those of `genai-prices`; see
            prices.py.
    """

    SECTION: ClassVar[str] = "ledger"

    expiry_interval_s: float = Field(default=1.0, gt=0)
    expired: Literal["post", "release"] = "post"
    prices: Path | None = None
