"""Money, lengths of time, rates and scopes, as people write and read them."""

import math
import re
from decimal import Decimal

from coord.times import MINUTE, SECOND
from coord.v1 import ledger_pb2

CURRENCY = "USD"
_NANOS = 10**9
_HOUR = 60 * MINUTE
_UNITS = {"d": 24 * _HOUR, "h": _HOUR, "m": MINUTE, "s": SECOND, "ms": SECOND // 1000}
# More digits are more than the services take, in any unit.
_MONEY = re.compile(r"\$?\s*(\d{1,30}(?:\.\d{1,9})?)\s*(?:USD)?", re.IGNORECASE)
_LENGTH = re.compile(r"(\d{1,30}(?:\.\d+)?)\s*(ms|[dhms])")
_RATE = re.compile(r"(\d{1,12})(?::(\d{1,12}))?", re.ASCII)
_SCOPES = {
    name.removeprefix("SCOPE_KIND_").lower(): kind
    for name, kind in ledger_pb2.ScopeKind.items()
    if kind
}
_NANOS_MAX = 2**62
_LENGTH_MAX = 366 * 24 * _HOUR


def parse_money(text: str) -> int:
    """Return US dollars such as `$0.50` as billionths.

    Raises:
        ValueError: It is no such amount.
    """
    found = _MONEY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount of money; write it as '$0.50'")
    nanos = int(Decimal(found[1]) * _NANOS)
    if nanos > _NANOS_MAX:
        raise ValueError(f"{text!r} is more than can be counted: $4 billion at most")
    return nanos


def parse_cap(text: str) -> float:
    """Return a cap as billionths of a US dollar; infinity for `none`.

    Raises:
        ValueError: It is no such amount.
    """
    return math.inf if text.strip().lower() == "none" else parse_money(text)


def parse_length(text: str) -> int:
    """Return a length of time such as `10m` or `1h30m` in nanoseconds.

    Raises:
        ValueError: It is no such length.
    """
    parts = _LENGTH.findall(text)
    if not parts or _LENGTH.sub("", text).strip():
        raise ValueError(f"{text!r} is no length of time; write it as '90s', '10m' or '1h30m'")
    length = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in parts)
    if length > _LENGTH_MAX:
        raise ValueError(f"{text!r} is longer than a year")
    return length


def parse_rate(text: str) -> tuple[int, int]:
    """Return a rate a minute and a burst, such as `50` or `50:10`.

    Raises:
        ValueError: It is no such rate.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no rate; write it as '50' or, with a burst, as '50:10'")
    per_minute = int(found[1])
    return per_minute, int(found[2] or per_minute)


def parse_scope(text: str) -> tuple[int, str]:
    """Return kind and id of a scope such as `task/ID`; the project's id is left open.

    Raises:
        ValueError: It is no such scope.
    """
    kind, _, name = text.partition("/")
    if kind not in _SCOPES or bool(name) == (kind == "project"):
        known = ", ".join(f"{kind}/ID" for kind in _SCOPES if kind != "project")
        raise ValueError(f"{text!r} is no scope; write project, or {known}")
    return _SCOPES[kind], name


def parse_weight(text: str) -> tuple[str, float]:
    """Return a worker's name and weight, such as `w1=2`.

    Raises:
        ValueError: It is no such pair.
    """
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise ValueError(f"{text!r} is no weight; write it as 'NAME=2'") from None


def format_money(nanos: int) -> str:
    """Return billionths as dollars with two digits, or with more where two would say nothing."""
    dollars = Decimal(nanos) / _NANOS
    if nanos and abs(dollars) < 1 and dollars != round(dollars, 2):
        return f"${dollars:.4f}"
    return f"${dollars:.2f}"


def format_length(ns: int) -> str:
    """Return a length of time in its two largest units, such as `1h 05m`."""
    seconds = max(ns, 0) // SECOND
    if seconds < 60:  # noqa: PLR2004 - the number is its own name here.
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"


def format_exact(ns: int) -> str:
    """Return a length of time, in tenths of a second below ten seconds."""
    return f"{ns / SECOND:.1f}s" if ns < 10 * SECOND else format_length(ns)


def count(number: int, noun: str) -> str:
    """Return a number of things, such as `1 task` and `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
