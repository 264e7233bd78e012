"""What calls to models cost, by the day: from `genai-prices`, or from a file of the operator's.

The file is TOML; its prices come before those of `genai-prices`:

    [[prices]]
    model = "local/llama-*"     # a glob
    input = 0.20                # dollars a million tokens
    output = 0.60
    cache_read = 0.02           # without it: as input
    cache_write = 0.25          # likewise
    since = 2026-06-01          # UTC; of those that have begun, the last counts
"""

import asyncio
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from coord.errors import CoordError, invalid_argument
from coord.times import MINUTE, SECOND
from coord.v1 import common_pb2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

CURRENCY = "USD"
_LIST = "genai_prices"
_MILLION = 10**6
_NANOS = 10**9
_REMEMBERED = 4_096
_COST_MAX = 2**62


@dataclass(frozen=True)
class Priced:
    """A cost.

    Attributes:
        nanos: In billionths of a dollar, rounded up.
        model: The model as the list of prices names it.
        source: Whose prices: a provider's name, or `override`.
    """

    nanos: int
    model: str
    source: str


class _Price(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)
    cache_write: Decimal | None = Field(default=None, ge=0)
    since: date = date.min

    def cost(self, usage: common_pb2.Usage) -> Decimal:
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        total = self.input * usage.input_tokens + self.output * usage.output_tokens
        total += read * usage.cache_read_tokens + write * usage.cache_write_tokens
        return total / _MILLION


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: tuple[_Price, ...] = ()


class Prices:
    """The prices that the ledger goes by.

    Args:
        file: The operator's own prices, if there are any.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_SETTING for a file that makes no sense.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._own = _read(file) if file else ()
        self._remembered = lru_cache(_REMEMBERED)(self._cost)

    async def load(self) -> None:
        """Have the list of prices at hand; without it, `cost` would hold up the loop for it."""
        if _LIST not in sys.modules:
            await asyncio.to_thread(import_module, _LIST)

    def cost(self, usage: common_pb2.Usage, at_ns: int) -> Priced:
        """Return what a usage costs at a time of the wall clock.

        Raises:
            CoordError: INVALID_ARGUMENT with reason UNKNOWN_MODEL where no price is known, or with
                reason AMOUNT_OVERFLOW.
        """
        content = usage.SerializeToString(deterministic=True)
        # Prices change at whole minutes.
        return self._remembered(content, at_ns // MINUTE * MINUTE)

    def _cost(self, content: bytes, at_ns: int) -> Priced:
        usage = common_pb2.Usage.FromString(content)
        at = datetime.fromtimestamp(at_ns / SECOND, UTC)
        for price in reversed(self._own):
            if price.since <= at.date() and fnmatchcase(usage.model, price.model):
                return Priced(_nanos(price.cost(usage)), price.model, "override")
        return _listed(usage, at)


def _listed(usage: common_pb2.Usage, at: datetime) -> Priced:
    import genai_prices  # noqa: PLC0415 - slow; most programs never ask for a price.

    # There, what was read from or written to a cache is part of the input.
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
    )
    try:
        found = genai_prices.calc_price(counted, usage.model, genai_request_timestamp=at)
    except LookupError:
        raise _unknown(usage.model) from None
    prices = vars(found.model_price)
    # What has no price there would count as free.
    if prices.get("input_mtok") is None or (
        usage.output_tokens and prices.get("output_mtok") is None
    ):
        raise _unknown(usage.model)
    return Priced(_nanos(found.total_price), found.model.id, found.provider.id)


def _nanos(dollars: Decimal) -> int:
    nanos = int((dollars * _NANOS).to_integral_value(ROUND_CEILING))
    if nanos > _COST_MAX:
        raise invalid_argument("AMOUNT_OVERFLOW", "the cost would outgrow 64 bits of nanos")
    return nanos


def _unknown(model: str) -> CoordError:
    return invalid_argument(
        "UNKNOWN_MODEL",
        f"no price is known of the model {model[:128]!r}: name it as its provider does, or add its"
        " price to the file that the setting ledger.prices names",
        model=model[:128],
    )


def _read(file: Path) -> tuple[_Price, ...]:
    try:
        content = tomllib.loads(file.read_text(), parse_float=Decimal)
        found = _File.model_validate(content).prices
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise invalid_argument("INVALID_SETTING", f"{file}: {error}") from None
    return tuple(sorted(found, key=lambda price: price.since))
