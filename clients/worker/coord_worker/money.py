"""Amounts of money and of tokens, as agents write them."""

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from coord.v1 import common_pb2

CURRENCY = "USD"
_NANOS = Decimal(10**9)
_TOKENS_MAX = 10**15
_NANOS_MAX = 10**18


@dataclass(frozen=True)
class Expense:
    """What was spent.

    Attributes:
        nanos: Billionths of a US dollar; None where it is unknown.
        usage: What was used for it.
    """

    nanos: int | None
    usage: common_pb2.Usage


def usd_nanos(value: object) -> int | None:
    """Return dollars as billionths, rounded; None for what is no amount that could be spent."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        nanos = Decimal(str(value)) * _NANOS
        return int(nanos.to_integral_value()) if 0 <= nanos <= _NANOS_MAX else None
    except (InvalidOperation, ValueError):
        return None


def count(value: object) -> int:
    """Return a number of tokens; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _TOKENS_MAX else 0


def parse_expense(line: str) -> Expense | None:
    """Read one line of a cost file; None where it says nothing that can be booked."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    expense = Expense(usd_nanos(fields.get("cost_usd")), _usage(fields))
    return expense if expense.nanos is not None or expense.usage.ByteSize() else None


def expense_line(expense: Expense) -> str:
    """Return an expense as a line of a cost file, for `parse_expense`."""
    usage = expense.usage
    fields: dict[str, Any] = {name.name: value for name, value in usage.ListFields()}
    if expense.nanos is not None:
        fields["cost_usd"] = str(expense.nanos / _NANOS)
    return json.dumps(fields)


def _usage(fields: dict[str, Any]) -> common_pb2.Usage:
    return common_pb2.Usage(
        # JSON can hold halves of characters, which no text of the contract can.
        model=str(fields.get("model", "")).encode(errors="replace").decode()[:128],
        input_tokens=count(fields.get("input_tokens")),
        output_tokens=count(fields.get("output_tokens")),
        cache_read_tokens=count(fields.get("cache_read_tokens")),
        cache_write_tokens=count(fields.get("cache_write_tokens")),
        requests=count(fields.get("requests")),
    )
