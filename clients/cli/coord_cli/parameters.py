"""Types of the commands' parameters."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from coord_cli.amounts import (
    parse_cap,
    parse_length,
    parse_money,
    parse_rate,
    parse_scope,
    parse_weight,
)

T = TypeVar("T")


class _Amount(click.ParamType[T]):
    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: Any) -> T:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # a default
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


# Billionths of a dollar or infinity, written as `$0.50` or `none`; nanoseconds, written as `90s`;
# billionths of a dollar; a rate a minute and a burst, written as `50:10`; kind and id of a scope,
# written as `task/ID`; a worker's name and weight, written as `NAME=2`.
CAP = _Amount("money or none", parse_cap)
LENGTH = _Amount("length", parse_length)
MONEY = _Amount("money", parse_money)
RATE = _Amount("rate", parse_rate)
SCOPE = _Amount("scope", parse_scope)
WEIGHT = _Amount("weight", parse_weight)
