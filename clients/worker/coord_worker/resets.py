"""Until when a provider's limit holds, as agents tell it: in words, for people."""

import re
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from coord.times import SECOND

# `usage limit reached|1753077600`
_EPOCH = re.compile(r"\|(\d{10})\b")
# `try again in 1h 5m`, `retry in 20s`, `Retrying after 23701ms`, `retry-after: 20`
_IN = re.compile(
    r"(?:again|retry|retrying|resets?|retry.after)\W+(?:in\s+|after\s+)?"
    r"((?:\d+(?:\.\d+)?\s*[a-z]*[\s,]*){1,4})",
    re.IGNORECASE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
# `resets 3pm (Europe/Berlin)`, `try again at 8:58 PM`, `try again at Nov 23rd, 2026 8:58 PM`
_AT = re.compile(
    r"(?:resets?|again)\s+(?:at\s+)?(?:([a-z]{3})[a-z]*\s+(\d{1,2})[a-z]*,?\s+(?:(\d{4})\s+)?)?"
    r"(1[0-2]|0?[1-9])(?::([0-5]\d))?\s*([ap])m\b(?:\s*\(([A-Za-z_]+/[A-Za-z_/]+)\))?",
    re.IGNORECASE,
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NOON = 12
_FARTHEST_NS = 366 * 86_400 * SECOND


def reset_ns(text: str, now_ns: int) -> int | None:
    """Return when a limit ends that a text speaks of; None where it does not say so.

    A time of day is one in the zone that is named, else in this machine's, and the next one. A time
    that is over, or lies more than a year ahead, is not believed.
    """
    if found := _EPOCH.search(text):
        return int(found[1]) * SECOND
    try:
        at_ns = _clock_ns(text, now_ns)
    except (ValueError, OverflowError, ZoneInfoNotFoundError):
        return None
    if at_ns is None and (found := _IN.search(text)):
        at_ns = now_ns + _duration_ns(found[1])
    if at_ns is None or not 0 < at_ns - now_ns <= _FARTHEST_NS:
        return None
    return at_ns


def _duration_ns(text: str) -> int:
    total = 0.0
    for number, unit in _PART.findall(text):
        size = 0.001 if unit.lower() == "ms" else _UNIT_S.get(unit[:1].lower(), 0)
        total += min(float(number), 10.0**9) * size
    return round(total * SECOND)


def _clock_ns(text: str, now_ns: int) -> int | None:
    found = _AT.search(text)
    if found is None:
        return None
    month, day, year, hour, minute, half, zone = found.groups()
    now = _local(now_ns, ZoneInfo(zone) if zone else None)
    hours = int(hour) % _NOON + (_NOON if half.lower() == "p" else 0)
    at = now.replace(hour=hours, minute=int(minute or 0), second=0, microsecond=0)
    if month:
        at = at.replace(
            year=int(year or now.year), month=_MONTHS.index(month.lower()) + 1, day=int(day)
        )
    elif at <= now:
        at += timedelta(days=1)
    return round(at.timestamp()) * SECOND


def _local(now_ns: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(now_ns // SECOND, zone).astimezone(zone)
