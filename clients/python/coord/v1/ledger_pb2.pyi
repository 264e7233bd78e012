import datetime

from coord.v1 import common_pb2 as _common_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScopeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_KIND_UNSPECIFIED: _ClassVar[ScopeKind]
    SCOPE_KIND_ACCOUNT: _ClassVar[ScopeKind]
    SCOPE_KIND_PROJECT: _ClassVar[ScopeKind]
    SCOPE_KIND_RUN: _ClassVar[ScopeKind]
    SCOPE_KIND_WORKER: _ClassVar[ScopeKind]
    SCOPE_KIND_TASK: _ClassVar[ScopeKind]

class BudgetWindow(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_WINDOW_UNSPECIFIED: _ClassVar[BudgetWindow]
    BUDGET_WINDOW_TOTAL: _ClassVar[BudgetWindow]
    BUDGET_WINDOW_DAY: _ClassVar[BudgetWindow]
    BUDGET_WINDOW_MONTH: _ClassVar[BudgetWindow]
SCOPE_KIND_UNSPECIFIED: ScopeKind
SCOPE_KIND_ACCOUNT: ScopeKind
SCOPE_KIND_PROJECT: ScopeKind
SCOPE_KIND_RUN: ScopeKind
SCOPE_KIND_WORKER: ScopeKind
SCOPE_KIND_TASK: ScopeKind
BUDGET_WINDOW_UNSPECIFIED: BudgetWindow
BUDGET_WINDOW_TOTAL: BudgetWindow
BUDGET_WINDOW_DAY: BudgetWindow
BUDGET_WINDOW_MONTH: BudgetWindow

class Scope(_message.Message):
    __slots__ = ("kind", "id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    kind: ScopeKind
    id: str
    def __init__(self, kind: _Optional[_Union[ScopeKind, str]] = ..., id: _Optional[str] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("window", "cap", "posted", "began_at", "thresholds")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    POSTED_FIELD_NUMBER: _ClassVar[int]
    BEGAN_AT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    window: BudgetWindow
    cap: _common_pb2.Money
    posted: _common_pb2.Money
    began_at: _timestamp_pb2.Timestamp
    thresholds: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, window: _Optional[_Union[BudgetWindow, str]] = ..., cap: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., posted: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., began_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., thresholds: _Optional[_Iterable[float]] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("scope", "posted", "pending", "cap", "budgets")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POSTED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    scope: Scope
    posted: _common_pb2.Money
    pending: _common_pb2.Money
    cap: _common_pb2.Money
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    def __init__(self, scope: _Optional[_Union[Scope, _Mapping]] = ..., posted: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., pending: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., cap: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("entry_id", "scopes", "amount", "usage", "reservation_id", "posted_at")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    POSTED_AT_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    scopes: _containers.RepeatedCompositeFieldContainer[Scope]
    amount: _common_pb2.Money
    usage: _common_pb2.Usage
    reservation_id: str
    posted_at: _timestamp_pb2.Timestamp
    def __init__(self, entry_id: _Optional[str] = ..., scopes: _Optional[_Iterable[_Union[Scope, _Mapping]]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., reservation_id: _Optional[str] = ..., posted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EstimateCostRequest(_message.Message):
    __slots__ = ("project", "usage", "at")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    project: str
    usage: _common_pb2.Usage
    at: _timestamp_pb2.Timestamp
    def __init__(self, project: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EstimateCostResponse(_message.Message):
    __slots__ = ("amount", "model", "source")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    amount: _common_pb2.Money
    model: str
    source: str
    def __init__(self, amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., model: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class ExtendReservationsRequest(_message.Message):
    __slots__ = ("project", "reservation_ids", "ttl")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_IDS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    project: str
    reservation_ids: _containers.RepeatedScalarFieldContainer[str]
    ttl: _duration_pb2.Duration
    def __init__(self, project: _Optional[str] = ..., reservation_ids: _Optional[_Iterable[str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExtendReservationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReservationReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReservationReportResult, _Mapping]]] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("project", "scope")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    project: str
    scope: Scope
    def __init__(self, project: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ...) -> None: ...

class GetBalanceResponse(_message.Message):
    __slots__ = ("balance",)
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("balances", "next_page_token")
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[Balance]
    next_page_token: str
    def __init__(self, balances: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("project", "scope", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    scope: Scope
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("entry_id", "scopes", "amount", "usage", "reservation_id")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    scopes: _containers.RepeatedCompositeFieldContainer[Scope]
    amount: _common_pb2.Money
    usage: _common_pb2.Usage
    reservation_id: str
    def __init__(self, entry_id: _Optional[str] = ..., scopes: _Optional[_Iterable[_Union[Scope, _Mapping]]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., reservation_id: _Optional[str] = ...) -> None: ...

class RecordCostsRequest(_message.Message):
    __slots__ = ("project", "costs")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    costs: _containers.RepeatedCompositeFieldContainer[Cost]
    def __init__(self, project: _Optional[str] = ..., costs: _Optional[_Iterable[_Union[Cost, _Mapping]]] = ...) -> None: ...

class RecordCostsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RecordCostsResult]
    def __init__(self, results: _Optional[_Iterable[_Union[RecordCostsResult, _Mapping]]] = ...) -> None: ...

class RecordCostsResult(_message.Message):
    __slots__ = ("entry_id", "error", "exceeded")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXCEEDED_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    error: _common_pb2.ItemError
    exceeded: _containers.RepeatedCompositeFieldContainer[Balance]
    def __init__(self, entry_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ..., exceeded: _Optional[_Iterable[_Union[Balance, _Mapping]]] = ...) -> None: ...

class ReleaseReservationsRequest(_message.Message):
    __slots__ = ("project", "reservation_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    reservation_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., reservation_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseReservationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReservationReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReservationReportResult, _Mapping]]] = ...) -> None: ...

class ReservationReportResult(_message.Message):
    __slots__ = ("reservation_id", "error", "actual")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    error: _common_pb2.ItemError
    actual: _common_pb2.Money
    def __init__(self, reservation_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ..., actual: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class ReservationRequest(_message.Message):
    __slots__ = ("reservation_id", "scopes", "amount", "min_amount", "ttl", "usage", "min_output_tokens", "within", "release_on_expiry")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MIN_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ON_EXPIRY_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    scopes: _containers.RepeatedCompositeFieldContainer[Scope]
    amount: _common_pb2.Money
    min_amount: _common_pb2.Money
    ttl: _duration_pb2.Duration
    usage: _common_pb2.Usage
    min_output_tokens: int
    within: str
    release_on_expiry: bool
    def __init__(self, reservation_id: _Optional[str] = ..., scopes: _Optional[_Iterable[_Union[Scope, _Mapping]]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., min_amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., min_output_tokens: _Optional[int] = ..., within: _Optional[str] = ..., release_on_expiry: _Optional[bool] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("reservation_id", "amount", "expires_at", "max_output_tokens")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    amount: _common_pb2.Money
    expires_at: _timestamp_pb2.Timestamp
    max_output_tokens: int
    def __init__(self, reservation_id: _Optional[str] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_output_tokens: _Optional[int] = ...) -> None: ...

class ReservationRefusal(_message.Message):
    __slots__ = ("reason", "balance", "available", "available_output_tokens")
    REASON_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    reason: _common_pb2.Reason
    balance: Balance
    available: _common_pb2.Money
    available_output_tokens: int
    def __init__(self, reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., balance: _Optional[_Union[Balance, _Mapping]] = ..., available: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., available_output_tokens: _Optional[int] = ...) -> None: ...

class ReservationResult(_message.Message):
    __slots__ = ("reservation_id", "reservation", "refusal", "error")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    reservation: Reservation
    refusal: ReservationRefusal
    error: _common_pb2.ItemError
    def __init__(self, reservation_id: _Optional[str] = ..., reservation: _Optional[_Union[Reservation, _Mapping]] = ..., refusal: _Optional[_Union[ReservationRefusal, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ReserveFundsRequest(_message.Message):
    __slots__ = ("project", "requests", "check_only")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CHECK_ONLY_FIELD_NUMBER: _ClassVar[int]
    project: str
    requests: _containers.RepeatedCompositeFieldContainer[ReservationRequest]
    check_only: bool
    def __init__(self, project: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[ReservationRequest, _Mapping]]] = ..., check_only: _Optional[bool] = ...) -> None: ...

class ReserveFundsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReservationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReservationResult, _Mapping]]] = ...) -> None: ...

class SetBudgetRequest(_message.Message):
    __slots__ = ("project", "request_id", "scope", "cap", "warn_at", "window", "thresholds", "remove")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    WARN_AT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    scope: Scope
    cap: _common_pb2.Money
    warn_at: float
    window: BudgetWindow
    thresholds: _containers.RepeatedScalarFieldContainer[float]
    remove: bool
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., scope: _Optional[_Union[Scope, _Mapping]] = ..., cap: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., warn_at: _Optional[float] = ..., window: _Optional[_Union[BudgetWindow, str]] = ..., thresholds: _Optional[_Iterable[float]] = ..., remove: _Optional[bool] = ...) -> None: ...

class SetBudgetResponse(_message.Message):
    __slots__ = ("balance",)
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("reservation_id", "actual", "usage")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    actual: _common_pb2.Money
    usage: _common_pb2.Usage
    def __init__(self, reservation_id: _Optional[str] = ..., actual: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class SettleReservationsRequest(_message.Message):
    __slots__ = ("project", "settlements")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    settlements: _containers.RepeatedCompositeFieldContainer[Settlement]
    def __init__(self, project: _Optional[str] = ..., settlements: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ...) -> None: ...

class SettleReservationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReservationReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReservationReportResult, _Mapping]]] = ...) -> None: ...

class WatchLedgerEventsRequest(_message.Message):
    __slots__ = ("project", "after")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    project: str
    after: int
    def __init__(self, project: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class WatchLedgerEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[LedgerEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[LedgerEvent, _Mapping]]] = ...) -> None: ...

class LedgerEvent(_message.Message):
    __slots__ = ("meta", "budget_set", "budget_warned", "budget_exceeded", "cost_posted")
    META_FIELD_NUMBER: _ClassVar[int]
    BUDGET_SET_FIELD_NUMBER: _ClassVar[int]
    BUDGET_WARNED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_EXCEEDED_FIELD_NUMBER: _ClassVar[int]
    COST_POSTED_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    budget_set: BudgetSet
    budget_warned: BudgetWarned
    budget_exceeded: BudgetExceeded
    cost_posted: CostPosted
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., budget_set: _Optional[_Union[BudgetSet, _Mapping]] = ..., budget_warned: _Optional[_Union[BudgetWarned, _Mapping]] = ..., budget_exceeded: _Optional[_Union[BudgetExceeded, _Mapping]] = ..., cost_posted: _Optional[_Union[CostPosted, _Mapping]] = ...) -> None: ...

class BudgetSet(_message.Message):
    __slots__ = ("balance",)
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...

class BudgetWarned(_message.Message):
    __slots__ = ("balance", "window", "threshold")
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    window: BudgetWindow
    threshold: float
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ..., window: _Optional[_Union[BudgetWindow, str]] = ..., threshold: _Optional[float] = ...) -> None: ...

class BudgetExceeded(_message.Message):
    __slots__ = ("balance", "window")
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    window: BudgetWindow
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ..., window: _Optional[_Union[BudgetWindow, str]] = ...) -> None: ...

class CostPosted(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: LedgerEntry
    def __init__(self, entry: _Optional[_Union[LedgerEntry, _Mapping]] = ...) -> None: ...
