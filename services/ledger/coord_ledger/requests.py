"""Checks of what the ledger is asked."""

from collections.abc import Iterable

from coord.times import SECOND, duration_ns
from coord.v1 import common_pb2, ledger_pb2
from coord_runtime.checks import check_id, check_money, check_one_of, check_range, invalid_field
from google.protobuf.duration_pb2 import Duration

from coord_ledger.account import Key

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
    check_one_of(f"{field}.kind", scope.kind, _KINDS)
    check_id(f"{field}.id", scope.id)
    if scope.kind == ledger_pb2.SCOPE_KIND_PROJECT and scope.id != project:
        raise invalid_field(f"{field}.id", f"the project of the request is {project}")
    return scope.kind, scope.id


def check_scopes(field: str, project: str, scopes: Iterable[ledger_pb2.Scope]) -> None:
    """Check the scopes that money counts for: 1 to 16, each once."""
    found = [check_scope(f"{field}[{i}]", project, scope) for i, scope in enumerate(scopes)]
    check_range(f"{field}: number of scopes", len(found), 1, SCOPES_MAX)
    if len(set(found)) < len(found):
        raise invalid_field(field, "each scope once")


def check_reservation(field: str, project: str, request: ledger_pb2.ReservationRequest) -> None:
    """Check a request to reserve, and bring its scopes into a fixed order."""
    check_id(f"{field}.reservation_id", request.reservation_id)
    if request.within:
        check_id(f"{field}.within", request.within)
        check_range(f"{field}.scopes: number beside within", len(request.scopes), 0, 0)
    else:
        check_scopes(f"{field}.scopes", project, request.scopes)
    if request.HasField("usage"):
        _check_priced(field, request)
    else:
        check_money(f"{field}.amount", request.amount, positive=True)
        check_range(f"{field}.min_output_tokens without usage", request.min_output_tokens, 0, 0)
    if request.HasField("min_amount"):
        check_money(f"{field}.min_amount", request.min_amount, positive=True)
        if request.min_amount.currency != request.amount.currency:
            raise invalid_field(f"{field}.min_amount", "it has the currency of the amount")
        check_range(f"{field}.min_amount.nanos", request.min_amount.nanos, 1, request.amount.nanos)
    if request.HasField("ttl"):
        check_ttl(f"{field}.ttl", request.ttl)
    present = [(scope.kind, scope.id) for scope in request.scopes]
    if present != sorted(present):
        request.scopes.sort(key=lambda scope: (scope.kind, scope.id))


def check_cost(field: str, project: str, cost: ledger_pb2.Cost) -> None:
    """Check a cost."""
    check_id(f"{field}.entry_id", cost.entry_id)
    check_money(f"{field}.amount", cost.amount)
    if cost.reservation_id:
        check_id(f"{field}.reservation_id", cost.reservation_id)
    else:
        check_scopes(f"{field}.scopes", project, cost.scopes)


def check_settlement(field: str, settlement: ledger_pb2.Settlement) -> None:
    """Check a settlement."""
    check_id(f"{field}.reservation_id", settlement.reservation_id)
    if settlement.HasField("actual") or not settlement.HasField("usage"):
        check_money(f"{field}.actual", settlement.actual)
    else:
        check_usage(f"{field}.usage", settlement.usage)


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


def _check_priced(field: str, request: ledger_pb2.ReservationRequest) -> None:
    if request.HasField("amount") or request.HasField("min_amount"):
        raise invalid_field(field, "an amount, or a usage that the ledger prices: not both")
    check_usage(f"{field}.usage", request.usage)
    least, most = request.min_output_tokens, request.usage.output_tokens
    check_range(f"{field}.min_output_tokens", least, 0, most)


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
