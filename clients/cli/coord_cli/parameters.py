"""Types of the commands' parameters."""

from collections.abc import Callable
from typing import Any

import click

from coord_cli.amounts import parse_length, parse_money


class _Amount(click.ParamType[int]):
    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value  # A default.
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


# Nanoseconds, written as `90s`; billionths of a dollar, written as `$0.50`.
LENGTH = _Amount("length", parse_length)
MONEY = _Amount("money", parse_money)
