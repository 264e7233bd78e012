"""Checks of what the ledger is asked. Requests of a batch that are alike are looked at once.

The ids are taken out of the messages: those that are alike are the same bytes then.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from coord.errors import CoordError
from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2, ledger_pb2
from coord_runtime.checks import (
    are_ids,
    check_id,
    check_money,
    check_one_of,
    check_range,
    invalid_field,
    within,
)
from google.protobuf.duration_pb2 import Duration

from coord_ledger.account import Key

T = TypeVar("T", ledger_pb2.ReservationRequest, ledger_pb2.Settlement)

SCOPES_MAX = 16
_TTL_MAX_NS = 366 * 24 * 3600 * SECOND
_NUMBER_MAX = 2**63 - 1
# Of the number of a kind.
_DIGITS = 9
_USED_MAX = 10**12
_KINDS = frozenset(ledger_pb2.ScopeKind.values())
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "requests",
)


def check_scope(field: str, project: str, scope: ledger_pb2.Scope) -> Key:
    """Check a scope and return its key."""
    try:
        return _key(project, scope)
    except CoordError as error:
        raise within(field, error) from None


def check_scopes(project: str, scopes: Iterable[ledger_pb2.Scope]) -> list[Key]:
    """Check the scopes that money counts for: 1 to 16, each once; return their keys."""
    found: list[Key] = []
    for scope in scopes:
        try:
            found.append(_key(project, scope))
        except CoordError as error:
            raise within(f"scopes[{len(found)}]", error) from None
    check_range("scopes: number of scopes", len(found), 1, SCOPES_MAX)
    if len(set(found)) < len(found):
        raise invalid_field("scopes", "each scope once")
    return found


@dataclass(slots=True, eq=False)
class Content(Generic[T]):
    """What requests of a batch have in common that differ in their ids only.

    Attributes:
        message: One of them, without its id.
        scopes: Those that it names, in order.
        error: Why nobody knows what it costs.
    """

    message: T
    scopes: tuple[Key, ...] = ()
    error: CoordError | None = None


class Ask(NamedTuple, Generic[T]):
    """A request of a batch: what is to be done about a reservation."""

    reservation_id: str
    content: Content[T]


ReservationAsk = Ask[ledger_pb2.ReservationRequest]
SettlementAsk = Ask[ledger_pb2.Settlement]


def reservations(request: ledger_pb2.ReserveFundsRequest) -> list[ReservationAsk]:
    """Return the requests to reserve, checked, their scopes in a fixed order."""

    def check(each: ledger_pb2.ReservationRequest) -> tuple[Key, ...]:
        return _check_reservation(request.project, each)

    return _asks("requests", request.requests, check)


def settlements(request: ledger_pb2.SettleReservationsRequest) -> list[SettlementAsk]:
    """Return the settlements, checked."""
    return _asks("settlements", request.settlements, _check_settlement)


def as_asked(request: ledger_pb2.ReservationRequest) -> ledger_pb2.ReservationRequest:
    """Return a request without its id and what the ledger itself has filled in."""
    asked = ledger_pb2.ReservationRequest()
    asked.CopyFrom(request)
    asked.ClearField("reservation_id")
    if request.within:
        asked.ClearField("scopes")
    if request.HasField("usage"):
        asked.ClearField("amount")
        asked.ClearField("min_amount")
    return asked


def check_costs(project: str, costs: Iterable[ledger_pb2.Cost]) -> None:
    """Check costs."""
    for i, each in enumerate(costs):
        try:
            _check_cost(project, each)
        except CoordError as error:
            raise within(f"costs[{i}]", error) from None


def _asks(field: str, messages: Iterable[T], check: Callable[[T], tuple[Key, ...]]) -> list[Ask[T]]:
    found: list[Ask[T]] = []
    contents: dict[bytes, Content[T]] = {}
    for each in messages:
        name = each.reservation_id
        each.ClearField("reservation_id")
        asked = each.SerializeToString()
        content = contents.get(asked)
        if content is None:
            try:
                content = contents[asked] = Content(each, check(each))
            except CoordError as error:
                raise within(f"{field}[{len(found)}]", error) from None
        found.append(Ask(name, content))
    if not are_ids([one.reservation_id for one in found]):
        for i, one in enumerate(found):
            check_id(f"{field}[{i}].reservation_id", one.reservation_id)
    return found


def _key(project: str, scope: ledger_pb2.Scope) -> Key:
    kind, name = scope.kind, scope.id
    check_one_of("kind", kind, _KINDS)
    check_id("id", name)
    if kind == ledger_pb2.SCOPE_KIND_PROJECT and name != project:
        raise invalid_field("id", f"the project of the request is {project}")
    return kind, name


def _check_reservation(project: str, request: ledger_pb2.ReservationRequest) -> tuple[Key, ...]:
    scopes: tuple[Key, ...] = ()
    if request.within:
        check_id("within", request.within)
        check_range("scopes: number beside within", len(request.scopes), 0, 0)
    else:
        found = check_scopes(project, request.scopes)
        scopes = tuple(sorted(found))
        if found != list(scopes):
            request.scopes.sort(key=lambda scope: (scope.kind, scope.id))
    if request.HasField("usage"):
        _check_priced(request)
    else:
        check_money("amount", request.amount, positive=True)
        check_range("min_output_tokens without usage", request.min_output_tokens, 0, 0)
    if request.HasField("min_amount"):
        check_money("min_amount", request.min_amount, positive=True)
        if request.min_amount.currency != request.amount.currency:
            raise invalid_field("min_amount", "it has the currency of the amount")
        check_range("min_amount.nanos", request.min_amount.nanos, 1, request.amount.nanos)
    if request.HasField("ttl"):
        check_ttl("ttl", request.ttl)
    return scopes


def _check_cost(project: str, cost: ledger_pb2.Cost) -> None:
    check_id("entry_id", cost.entry_id)
    check_money("amount", cost.amount)
    if cost.reservation_id:
        check_id("reservation_id", cost.reservation_id)
    else:
        check_scopes(project, cost.scopes)


def _check_settlement(settlement: ledger_pb2.Settlement) -> tuple[Key, ...]:
    if settlement.HasField("actual") or not settlement.HasField("usage"):
        check_money("actual", settlement.actual)
    else:
        check_usage("usage", settlement.usage)
    return ()


def check_usage(field: str, usage: common_pb2.Usage) -> None:
    """Check what a model has used: its name, and counts of at most 10^12."""
    check_id(f"{field}.model", usage.model)
    for key in _COUNTS:
        check_range(f"{field}.{key}", getattr(usage, key), 0, _USED_MAX)


def check_ttl(field: str, ttl: Duration) -> int:
    """Check how long something is to live, and return it in nanoseconds."""
    ns = duration_ns(ttl)
    check_range(f"{field}, in ns", ns, 1, _TTL_MAX_NS)
    return ns


def _check_priced(request: ledger_pb2.ReservationRequest) -> None:
    if request.HasField("amount") or request.HasField("min_amount"):
        raise invalid_field("usage", "an amount, or a usage that the ledger prices: not both")
    check_usage("usage", request.usage)
    least, most = request.min_output_tokens, request.usage.output_tokens
    check_range("min_output_tokens", least, 0, most)


def check_removal(request: ledger_pb2.SetBudgetRequest) -> None:
    """Check that who takes a cap away sets none."""
    if request.HasField("cap") or request.HasField("warn_at") or request.thresholds:
        raise invalid_field("remove", "a cap, or that there be none: not both")


def scope_token(key: Key) -> str:
    """Return the token of a page that ends with a scope."""
    return f"{key[0]}:{key[1]}"


def scope_after(page_token: str) -> Key:
    """Return the scope after which a list goes on."""
    kind, colon, name = page_token.partition(":")
    if page_token and not (colon and kind.isascii() and kind.isdigit() and len(kind) < _DIGITS):
        raise invalid_field("page_token", "not the next_page_token of an answer")
    return int(kind or 0), name


def entry_number(page_token: str) -> int:
    """Return the entry after which a list goes on."""
    if not page_token:
        return 0
    if not (page_token.isascii() and page_token.isdigit()) or int(page_token) > _NUMBER_MAX:
        raise invalid_field("page_token", "not the next_page_token of an answer")
    return int(page_token)
