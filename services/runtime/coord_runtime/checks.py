"""Checks of fields: each raises INVALID_ARGUMENT, reason INVALID_FIELD, naming the field."""

import re
from collections.abc import Iterable, MutableMapping, Sequence
from functools import lru_cache

from coord.errors import CoordError, invalid_argument
from coord.v1 import common_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

ITEMS_MAX = 1_000
MESSAGE_BYTES_MAX = 4_096
DETAIL_BYTES_MAX = 64 * 2**10
GLOB_BYTES_MAX = 1_024
# What one claim may name, so what one task may declare.
RESOURCES_MAX = 100
PAGE_SIZE_DEFAULT = 100
_NANOS_MAX = 2**62

_ID_LENGTH_MAX = 128
_ID = re.compile(rf"[A-Za-z0-9._:/@+-]{{1,{_ID_LENGTH_MAX}}}")
_IDS = re.compile(r"[A-Za-z0-9._:/@+-]+")
_PROJECT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_WORKER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CURRENCY = re.compile(r"[A-Z]{3}")


def invalid_field(field: str, message: str) -> CoordError:
    """Return the error for a wrong value of `field`."""
    return invalid_argument("INVALID_FIELD", f"{field}: {message}", field=field)


def within(part: str, error: CoordError) -> CoordError:
    """Return the error for a wrong value of a field of `part`.

    So that the names of parts are only put together where something is wrong.
    """
    field = f"{part}.{error.metadata['field']}"
    return invalid_argument(error.reason, f"{part}.{error.message}", field=field)


def check_id(field: str, value: str) -> None:
    """Check an id: 1 to 128 characters of [A-Za-z0-9._:/@+-]."""
    if not _ID.fullmatch(value):
        raise invalid_field(
            field, f"an id has 1 to 128 characters of [A-Za-z0-9._:/@+-], not {value[:64]!r}"
        )


def are_ids(values: Sequence[str]) -> bool:
    """Tell whether all are ids, in a fraction of the time of a check of each."""
    return bool(
        _IDS.fullmatch("".join(values))
        and min(map(len, values)) > 0
        and max(map(len, values)) <= _ID_LENGTH_MAX
    )


def check_ids(field: str, values: Iterable[str]) -> None:
    """Check a list of ids."""
    for value in values:
        check_id(field, value)


def check_project(value: str) -> None:
    """Check the name of a project."""
    if not _PROJECT.fullmatch(value):
        raise invalid_field(
            "project",
            "a project has 1 to 128 characters of [A-Za-z0-9._-] and does not start with a dot, "
            f"not {value[:64]!r}",
        )


def check_worker(field: str, value: str) -> None:
    """Check the name of a worker: 1 to 64 characters of [A-Za-z0-9_-]."""
    if not _WORKER.fullmatch(value):
        raise invalid_field(
            field, f"a worker has 1 to 64 characters of [A-Za-z0-9_-], not {value[:64]!r}"
        )


def check_text(field: str, value: str, bytes_max: int) -> None:
    """Check the length of a text."""
    if len(value) * 4 > bytes_max and len(value.encode()) > bytes_max:
        raise invalid_field(field, f"at most {bytes_max} bytes, not {len(value.encode())}")


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Check that a number is from `low` to `high`."""
    if not low <= value <= high:
        raise invalid_field(field, f"from {low} to {high}, not {value}")


def check_one_of(field: str, value: int, known: Iterable[int]) -> None:
    """Check that an enum has a value that this version knows, and not the unspecified one."""
    if value == 0 or value not in known:
        raise invalid_field(field, f"{value} is not a value that can be used here")


def check_money(field: str, value: common_pb2.Money, *, positive: bool = False) -> None:
    """Check an amount: a currency, not negative, and not above 2^62 nanos."""
    if not _CURRENCY.fullmatch(value.currency):
        raise invalid_field(
            f"{field}.currency", f"an ISO 4217 code such as USD, not {value.currency[:16]!r}"
        )
    least = 1 if positive else 0
    if not least <= value.nanos <= _NANOS_MAX:
        check_range(f"{field}.nanos", value.nanos, least, _NANOS_MAX)


def check_progress(field: str, value: common_pb2.Progress) -> None:
    """Check how far an attempt has come: at most 4,096 bytes of text, and a share of 0 to 1."""
    check_text(f"{field}.summary", value.summary, MESSAGE_BYTES_MAX)
    check_range(f"{field}.fraction", value.fraction, 0, 1)


def check_attempt(field: str, value: common_pb2.AttemptRef) -> None:
    """Check the name of an attempt."""
    check_id(f"{field}.task_id", value.task_id)
    check_range(f"{field}.fencing_token", value.fencing_token, 1, 2**63 - 1)


def check_attempts(field: str, values: Iterable[common_pb2.AttemptRef]) -> None:
    """Check the names of attempts."""
    for value in values:
        if not (_ID.fullmatch(value.task_id) and value.fencing_token > 0):
            check_attempt(field, value)


def page_size(value: int) -> int:
    """Return how many items to list: 1 to 1,000, by default 100."""
    check_range("page_size", value, 0, ITEMS_MAX)
    return value or PAGE_SIZE_DEFAULT


def check_message(message: Message) -> None:
    """Check what holds for every message: at most 1,000 items a list, and no NUL in a text."""
    _check_lists(message)
    # Most messages have no zero byte; of the others most are small: an empty message has a length.
    if b"\0" in message.SerializeToString():
        _check_texts(message)


def _check_lists(message: Message) -> None:
    if message.ByteSize() <= ITEMS_MAX:  # An item has a byte at least.
        return
    for name, repeated, kind in _checked_fields(message.DESCRIPTOR):
        if kind == FieldDescriptor.TYPE_STRING and not repeated:
            continue
        value = getattr(message, name)
        if repeated and len(value) > ITEMS_MAX:
            raise invalid_argument(
                "TOO_MANY_ITEMS",
                f"{name}: at most {ITEMS_MAX} items, not {len(value)}; send several requests",
                field=name,
            )
        if kind == FieldDescriptor.TYPE_MESSAGE:
            for item in value if repeated else (value,):
                # Not the key of a map.
                if isinstance(item, Message) and item.ByteSize() > ITEMS_MAX:
                    _check_lists(item)


def _check_texts(message: Message) -> None:
    for field, value in message.ListFields():
        items = [*value, *value.values()] if isinstance(value, MutableMapping) else value
        for item in items if field.is_repeated else (value,):
            if isinstance(item, str):
                _check_nul(field.name, item)
            elif isinstance(item, Message):
                _check_texts(item)


def _check_nul(name: str, value: str) -> None:
    if "\0" in value:
        raise invalid_field(name, "a text has no NUL")


@lru_cache(maxsize=1_024)
def _checked_fields(descriptor: object) -> tuple[tuple[str, bool, int], ...]:
    """Return name, whether repeated, and type of the fields that can be wrong by themselves."""
    fields: Iterable[FieldDescriptor] = descriptor.fields  # type: ignore[attr-defined]
    return tuple(
        (field.name, field.is_repeated, field.type)
        for field in fields
        if field.is_repeated
        or field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    )
