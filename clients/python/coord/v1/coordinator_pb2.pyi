import datetime

from coord.v1 import admission_pb2 as _admission_pb2
from coord.v1 import claims_pb2 as _claims_pb2
from coord.v1 import common_pb2 as _common_pb2
from coord.v1 import integrator_pb2 as _integrator_pb2
from coord.v1 import ledger_pb2 as _ledger_pb2
from coord.v1 import limiter_pb2 as _limiter_pb2
from coord.v1 import queue_pb2 as _queue_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lifecycle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIFECYCLE_UNSPECIFIED: _ClassVar[Lifecycle]
    LIFECYCLE_INIT: _ClassVar[Lifecycle]
    LIFECYCLE_RUNNING: _ClassVar[Lifecycle]
    LIFECYCLE_DRAINING: _ClassVar[Lifecycle]
    LIFECYCLE_STOPPED: _ClassVar[Lifecycle]

class Vitality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VITALITY_UNSPECIFIED: _ClassVar[Vitality]
    VITALITY_ALIVE: _ClassVar[Vitality]
    VITALITY_SUSPECTED: _ClassVar[Vitality]
    VITALITY_AWAY: _ClassVar[Vitality]
    VITALITY_LOST: _ClassVar[Vitality]
LIFECYCLE_UNSPECIFIED: Lifecycle
LIFECYCLE_INIT: Lifecycle
LIFECYCLE_RUNNING: Lifecycle
LIFECYCLE_DRAINING: Lifecycle
LIFECYCLE_STOPPED: Lifecycle
VITALITY_UNSPECIFIED: Vitality
VITALITY_ALIVE: Vitality
VITALITY_SUSPECTED: Vitality
VITALITY_AWAY: Vitality
VITALITY_LOST: Vitality

class ConnectRequest(_message.Message):
    __slots__ = ("sequence", "acknowledged", "hello", "heartbeat", "ack", "started", "complete", "failed", "released", "progress", "spent", "request", "claim_release", "rate_request", "rate_settlement", "conflict_check", "worker_message", "call_request", "call_settlement")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CLAIM_RELEASE_FIELD_NUMBER: _ClassVar[int]
    RATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    RATE_SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_CHECK_FIELD_NUMBER: _ClassVar[int]
    WORKER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CALL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    CALL_SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    acknowledged: int
    hello: Hello
    heartbeat: Heartbeat
    ack: Ack
    started: Started
    complete: Complete
    failed: Failed
    released: Released
    progress: ProgressReport
    spent: Spent
    request: _claims_pb2.ClaimRequest
    claim_release: ClaimRelease
    rate_request: RateRequest
    rate_settlement: RateSettlement
    conflict_check: ConflictCheck
    worker_message: WorkerMessage
    call_request: _admission_pb2.CallRequest
    call_settlement: _admission_pb2.CallSettlement
    def __init__(self, sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., complete: _Optional[_Union[Complete, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ..., progress: _Optional[_Union[ProgressReport, _Mapping]] = ..., spent: _Optional[_Union[Spent, _Mapping]] = ..., request: _Optional[_Union[_claims_pb2.ClaimRequest, _Mapping]] = ..., claim_release: _Optional[_Union[ClaimRelease, _Mapping]] = ..., rate_request: _Optional[_Union[RateRequest, _Mapping]] = ..., rate_settlement: _Optional[_Union[RateSettlement, _Mapping]] = ..., conflict_check: _Optional[_Union[ConflictCheck, _Mapping]] = ..., worker_message: _Optional[_Union[WorkerMessage, _Mapping]] = ..., call_request: _Optional[_Union[_admission_pb2.CallRequest, _Mapping]] = ..., call_settlement: _Optional[_Union[_admission_pb2.CallSettlement, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("sequence", "acknowledged", "welcome", "ack", "assigned", "revoke", "cancel", "drain", "budget_warning", "budget_exceeded", "proceed", "wait", "rate_grant", "rate_wait", "conflict", "worker_message", "recall", "refusal", "claim_lost", "call_admission", "call_wait")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    REVOKE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_WARNING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_EXCEEDED_FIELD_NUMBER: _ClassVar[int]
    PROCEED_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    RATE_GRANT_FIELD_NUMBER: _ClassVar[int]
    RATE_WAIT_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    WORKER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CLAIM_LOST_FIELD_NUMBER: _ClassVar[int]
    CALL_ADMISSION_FIELD_NUMBER: _ClassVar[int]
    CALL_WAIT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    acknowledged: int
    welcome: Welcome
    ack: Ack
    assigned: Assigned
    revoke: Revoke
    cancel: Cancel
    drain: Drain
    budget_warning: BudgetWarning
    budget_exceeded: BudgetStop
    proceed: Proceed
    wait: Wait
    rate_grant: RateGrant
    rate_wait: RateWait
    conflict: Conflict
    worker_message: WorkerMessage
    recall: Recall
    refusal: Refusal
    claim_lost: ClaimLost
    call_admission: _admission_pb2.CallAdmission
    call_wait: _admission_pb2.CallWait
    def __init__(self, sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., assigned: _Optional[_Union[Assigned, _Mapping]] = ..., revoke: _Optional[_Union[Revoke, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., budget_warning: _Optional[_Union[BudgetWarning, _Mapping]] = ..., budget_exceeded: _Optional[_Union[BudgetStop, _Mapping]] = ..., proceed: _Optional[_Union[Proceed, _Mapping]] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., rate_grant: _Optional[_Union[RateGrant, _Mapping]] = ..., rate_wait: _Optional[_Union[RateWait, _Mapping]] = ..., conflict: _Optional[_Union[Conflict, _Mapping]] = ..., worker_message: _Optional[_Union[WorkerMessage, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., claim_lost: _Optional[_Union[ClaimLost, _Mapping]] = ..., call_admission: _Optional[_Union[_admission_pb2.CallAdmission, _Mapping]] = ..., call_wait: _Optional[_Union[_admission_pb2.CallWait, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "project", "worker", "instance", "capabilities", "profile", "slots", "held", "buckets", "preferences", "provider", "protocol_version_min", "session_id", "confirmed", "roles", "runs", "prefetch")
    class PreferencesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_MIN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    project: str
    worker: str
    instance: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    profile: str
    slots: int
    held: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    buckets: _containers.RepeatedScalarFieldContainer[str]
    preferences: _containers.ScalarMap[str, float]
    provider: str
    protocol_version_min: int
    session_id: str
    confirmed: int
    roles: _containers.RepeatedScalarFieldContainer[str]
    runs: _containers.RepeatedScalarFieldContainer[str]
    prefetch: int
    def __init__(self, protocol_version: _Optional[int] = ..., project: _Optional[str] = ..., worker: _Optional[str] = ..., instance: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., profile: _Optional[str] = ..., slots: _Optional[int] = ..., held: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ..., buckets: _Optional[_Iterable[str]] = ..., preferences: _Optional[_Mapping[str, float]] = ..., provider: _Optional[str] = ..., protocol_version_min: _Optional[int] = ..., session_id: _Optional[str] = ..., confirmed: _Optional[int] = ..., roles: _Optional[_Iterable[str]] = ..., runs: _Optional[_Iterable[str]] = ..., prefetch: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, held: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Started(_message.Message):
    __slots__ = ("attempt",)
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ...) -> None: ...

class Complete(_message.Message):
    __slots__ = ("attempt", "message")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    message: str
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("attempt", "reason", "message", "detail", "not_before")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    reason: _queue_pb2.FailureReason
    message: str
    detail: str
    not_before: _timestamp_pb2.Timestamp
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., reason: _Optional[_Union[_queue_pb2.FailureReason, str]] = ..., message: _Optional[str] = ..., detail: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ("attempt", "message")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    message: str
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class ProgressReport(_message.Message):
    __slots__ = ("attempt", "progress")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    progress: _common_pb2.Progress
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ...) -> None: ...

class Spent(_message.Message):
    __slots__ = ("attempt", "entry_id", "amount", "usage")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    entry_id: str
    amount: _common_pb2.Money
    usage: _common_pb2.Usage
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., entry_id: _Optional[str] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ...) -> None: ...

class ClaimRelease(_message.Message):
    __slots__ = ("claim_id",)
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    def __init__(self, claim_id: _Optional[str] = ...) -> None: ...

class RateRequest(_message.Message):
    __slots__ = ("rate_id", "attempt", "buckets", "estimate")
    RATE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    rate_id: str
    attempt: _common_pb2.AttemptRef
    buckets: _containers.RepeatedScalarFieldContainer[str]
    estimate: _limiter_pb2.Quantities
    def __init__(self, rate_id: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., buckets: _Optional[_Iterable[str]] = ..., estimate: _Optional[_Union[_limiter_pb2.Quantities, _Mapping]] = ...) -> None: ...

class RateSettlement(_message.Message):
    __slots__ = ("rate_id", "actual")
    RATE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    rate_id: str
    actual: _limiter_pb2.Quantities
    def __init__(self, rate_id: _Optional[str] = ..., actual: _Optional[_Union[_limiter_pb2.Quantities, _Mapping]] = ...) -> None: ...

class ConflictCheck(_message.Message):
    __slots__ = ("check_id", "attempt")
    CHECK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    check_id: str
    attempt: _common_pb2.AttemptRef
    def __init__(self, check_id: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ...) -> None: ...

class WorkerMessage(_message.Message):
    __slots__ = ("message_id", "sender", "worker", "role", "everybody", "thread", "body", "time_to_live", "sent_at")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    EVERYBODY_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    sender: str
    worker: str
    role: str
    everybody: bool
    thread: str
    body: str
    time_to_live: _duration_pb2.Duration
    sent_at: _timestamp_pb2.Timestamp
    def __init__(self, message_id: _Optional[str] = ..., sender: _Optional[str] = ..., worker: _Optional[str] = ..., role: _Optional[str] = ..., everybody: _Optional[bool] = ..., thread: _Optional[str] = ..., body: _Optional[str] = ..., time_to_live: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("resumed", "heartbeat_interval", "grace", "session_id", "protocol_version")
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    resumed: bool
    heartbeat_interval: _duration_pb2.Duration
    grace: _duration_pb2.Duration
    session_id: str
    protocol_version: int
    def __init__(self, resumed: _Optional[bool] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., protocol_version: _Optional[int] = ...) -> None: ...

class Assigned(_message.Message):
    __slots__ = ("lease", "worktree", "budget")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    lease: _queue_pb2.Lease
    worktree: _integrator_pb2.Worktree
    budget: _common_pb2.Money
    def __init__(self, lease: _Optional[_Union[_queue_pb2.Lease, _Mapping]] = ..., worktree: _Optional[_Union[_integrator_pb2.Worktree, _Mapping]] = ..., budget: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class Revoke(_message.Message):
    __slots__ = ("attempt", "reason")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    reason: _common_pb2.Reason
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("attempt", "reason")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    reason: _common_pb2.Reason
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("deadline", "reason")
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    deadline: _duration_pb2.Duration
    reason: _common_pb2.Reason
    def __init__(self, deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class BudgetWarning(_message.Message):
    __slots__ = ("attempt", "balance")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    balance: _ledger_pb2.Balance
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., balance: _Optional[_Union[_ledger_pb2.Balance, _Mapping]] = ...) -> None: ...

class BudgetStop(_message.Message):
    __slots__ = ("attempt", "balance")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    balance: _ledger_pb2.Balance
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., balance: _Optional[_Union[_ledger_pb2.Balance, _Mapping]] = ...) -> None: ...

class Proceed(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: _claims_pb2.Claim
    def __init__(self, claim: _Optional[_Union[_claims_pb2.Claim, _Mapping]] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("claim_id", "wait")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    wait: _claims_pb2.ClaimWait
    def __init__(self, claim_id: _Optional[str] = ..., wait: _Optional[_Union[_claims_pb2.ClaimWait, _Mapping]] = ...) -> None: ...

class RateGrant(_message.Message):
    __slots__ = ("rate_id", "expires_at")
    RATE_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    rate_id: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, rate_id: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RateWait(_message.Message):
    __slots__ = ("rate_id", "retry_after", "reason")
    RATE_ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    rate_id: str
    retry_after: _duration_pb2.Duration
    reason: _common_pb2.Reason
    def __init__(self, rate_id: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class Conflict(_message.Message):
    __slots__ = ("check_id", "attempt", "conflicts")
    CHECK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    check_id: str
    attempt: _common_pb2.AttemptRef
    conflicts: _containers.RepeatedCompositeFieldContainer[ConflictWith]
    def __init__(self, check_id: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., conflicts: _Optional[_Iterable[_Union[ConflictWith, _Mapping]]] = ...) -> None: ...

class ConflictWith(_message.Message):
    __slots__ = ("worker", "attempt", "paths", "hunks")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    HUNKS_FIELD_NUMBER: _ClassVar[int]
    worker: str
    attempt: _common_pb2.AttemptRef
    paths: _containers.RepeatedScalarFieldContainer[str]
    hunks: str
    def __init__(self, worker: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., paths: _Optional[_Iterable[str]] = ..., hunks: _Optional[str] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("attempt", "reason")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    reason: _common_pb2.Reason
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: _common_pb2.Reason
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ClaimLost(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: _claims_pb2.Claim
    def __init__(self, claim: _Optional[_Union[_claims_pb2.Claim, _Mapping]] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("name", "instance", "lifecycle", "connected", "capabilities", "profile", "slots", "attempts", "heard_at", "reason", "provider", "vitality", "roles", "runs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    HEARD_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    VITALITY_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    instance: str
    lifecycle: Lifecycle
    connected: bool
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    profile: str
    slots: int
    attempts: _containers.RepeatedCompositeFieldContainer[WorkerAttempt]
    heard_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    provider: str
    vitality: Vitality
    roles: _containers.RepeatedScalarFieldContainer[str]
    runs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., instance: _Optional[str] = ..., lifecycle: _Optional[_Union[Lifecycle, str]] = ..., connected: _Optional[bool] = ..., capabilities: _Optional[_Iterable[str]] = ..., profile: _Optional[str] = ..., slots: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[WorkerAttempt, _Mapping]]] = ..., heard_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., provider: _Optional[str] = ..., vitality: _Optional[_Union[Vitality, str]] = ..., roles: _Optional[_Iterable[str]] = ..., runs: _Optional[_Iterable[str]] = ...) -> None: ...

class WorkerAttempt(_message.Message):
    __slots__ = ("attempt", "title", "progress", "assigned_at", "spent")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    title: str
    progress: _common_pb2.Progress
    assigned_at: _timestamp_pb2.Timestamp
    spent: _common_pb2.Money
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., title: _Optional[str] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ..., assigned_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spent: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class DrainWorkersRequest(_message.Message):
    __slots__ = ("project", "workers", "deadline", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    workers: _containers.RepeatedScalarFieldContainer[str]
    deadline: _duration_pb2.Duration
    message: str
    def __init__(self, project: _Optional[str] = ..., workers: _Optional[_Iterable[str]] = ..., deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class DrainWorkersResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workers: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainDispatchRequest(_message.Message):
    __slots__ = ("project", "task_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    task_id: str
    def __init__(self, project: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class ExplainDispatchResponse(_message.Message):
    __slots__ = ("state", "reasons", "candidates", "strategy")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    state: _queue_pb2.TaskState
    reasons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Reason]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    strategy: str
    def __init__(self, state: _Optional[_Union[_queue_pb2.TaskState, str]] = ..., reasons: _Optional[_Iterable[_Union[_common_pb2.Reason, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., strategy: _Optional[str] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("worker", "eligible", "reason", "score")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    worker: str
    eligible: bool
    reason: _common_pb2.Reason
    score: float
    def __init__(self, worker: _Optional[str] = ..., eligible: _Optional[bool] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., score: _Optional[float] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("lifecycle", "strategy", "held", "stopped")
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    lifecycle: Lifecycle
    strategy: str
    held: _containers.RepeatedCompositeFieldContainer[HeldTask]
    stopped: _common_pb2.Reason
    def __init__(self, lifecycle: _Optional[_Union[Lifecycle, str]] = ..., strategy: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldTask, _Mapping]]] = ..., stopped: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class KillWorkerRequest(_message.Message):
    __slots__ = ("project", "worker", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    message: str
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class KillWorkerResponse(_message.Message):
    __slots__ = ("attempts",)
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    attempts: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, attempts: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class PollRequest(_message.Message):
    __slots__ = ("messages", "wait", "project")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[ConnectRequest]
    wait: _duration_pb2.Duration
    project: str
    def __init__(self, messages: _Optional[_Iterable[_Union[ConnectRequest, _Mapping]]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., project: _Optional[str] = ...) -> None: ...

class PollResponse(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[ConnectResponse]
    def __init__(self, messages: _Optional[_Iterable[_Union[ConnectResponse, _Mapping]]] = ...) -> None: ...

class ReadMessagesRequest(_message.Message):
    __slots__ = ("project", "read_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    READ_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    read_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., read_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadMessagesResponse(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[WorkerMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[WorkerMessage, _Mapping]]] = ...) -> None: ...

class ResumeProjectRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ResumeProjectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("project", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    message: WorkerMessage
    def __init__(self, project: _Optional[str] = ..., message: _Optional[_Union[WorkerMessage, _Mapping]] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workers: _Optional[_Iterable[str]] = ...) -> None: ...

class SetStrategyRequest(_message.Message):
    __slots__ = ("project", "strategy")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    project: str
    strategy: str
    def __init__(self, project: _Optional[str] = ..., strategy: _Optional[str] = ...) -> None: ...

class SetStrategyResponse(_message.Message):
    __slots__ = ("previous",)
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    previous: str
    def __init__(self, previous: _Optional[str] = ...) -> None: ...

class StopProjectRequest(_message.Message):
    __slots__ = ("project", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    message: str
    def __init__(self, project: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class StopProjectResponse(_message.Message):
    __slots__ = ("attempts",)
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    attempts: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, attempts: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class HeldTask(_message.Message):
    __slots__ = ("task_id", "reason")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    reason: _common_pb2.Reason
    def __init__(self, task_id: _Optional[str] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    def __init__(self, workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("project", "after")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    project: str
    after: str
    def __init__(self, project: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("cursor", "name", "queue", "limiter", "ledger", "coordinator", "integrator")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    LIMITER_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    INTEGRATOR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    name: str
    queue: _queue_pb2.QueueEvent
    limiter: _limiter_pb2.LimiterEvent
    ledger: _ledger_pb2.LedgerEvent
    coordinator: CoordinatorEvent
    integrator: _integrator_pb2.IntegratorEvent
    def __init__(self, cursor: _Optional[str] = ..., name: _Optional[str] = ..., queue: _Optional[_Union[_queue_pb2.QueueEvent, _Mapping]] = ..., limiter: _Optional[_Union[_limiter_pb2.LimiterEvent, _Mapping]] = ..., ledger: _Optional[_Union[_ledger_pb2.LedgerEvent, _Mapping]] = ..., coordinator: _Optional[_Union[CoordinatorEvent, _Mapping]] = ..., integrator: _Optional[_Union[_integrator_pb2.IntegratorEvent, _Mapping]] = ...) -> None: ...

class CoordinatorEvent(_message.Message):
    __slots__ = ("meta", "worker", "instance", "lifecycle", "reason", "claim", "routed")
    META_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    worker: str
    instance: str
    lifecycle: Lifecycle
    reason: _common_pb2.Reason
    claim: _claims_pb2.Claim
    routed: WorkerMessage
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., worker: _Optional[str] = ..., instance: _Optional[str] = ..., lifecycle: _Optional[_Union[Lifecycle, str]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., claim: _Optional[_Union[_claims_pb2.Claim, _Mapping]] = ..., routed: _Optional[_Union[WorkerMessage, _Mapping]] = ...) -> None: ...
