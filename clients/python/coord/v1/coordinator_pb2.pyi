import datetime

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
LIFECYCLE_UNSPECIFIED: Lifecycle
LIFECYCLE_INIT: Lifecycle
LIFECYCLE_RUNNING: Lifecycle
LIFECYCLE_DRAINING: Lifecycle
LIFECYCLE_STOPPED: Lifecycle

class ConnectRequest(_message.Message):
    __slots__ = ("sequence", "acknowledged", "hello", "heartbeat", "ack", "started", "complete", "failed", "released", "progress", "spent")
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
    def __init__(self, sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., complete: _Optional[_Union[Complete, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ..., progress: _Optional[_Union[ProgressReport, _Mapping]] = ..., spent: _Optional[_Union[Spent, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("sequence", "acknowledged", "welcome", "ack", "assigned", "revoke", "cancel", "drain", "budget_warning", "budget_exceeded")
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
    def __init__(self, sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., assigned: _Optional[_Union[Assigned, _Mapping]] = ..., revoke: _Optional[_Union[Revoke, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., budget_warning: _Optional[_Union[BudgetWarning, _Mapping]] = ..., budget_exceeded: _Optional[_Union[BudgetStop, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "project", "worker", "instance", "capabilities", "profile", "slots", "held", "buckets", "preferences", "provider")
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
    def __init__(self, protocol_version: _Optional[int] = ..., project: _Optional[str] = ..., worker: _Optional[str] = ..., instance: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., profile: _Optional[str] = ..., slots: _Optional[int] = ..., held: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ..., buckets: _Optional[_Iterable[str]] = ..., preferences: _Optional[_Mapping[str, float]] = ..., provider: _Optional[str] = ...) -> None: ...

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

class Welcome(_message.Message):
    __slots__ = ("resumed", "heartbeat_interval", "grace")
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    resumed: bool
    heartbeat_interval: _duration_pb2.Duration
    grace: _duration_pb2.Duration
    def __init__(self, resumed: _Optional[bool] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

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

class Worker(_message.Message):
    __slots__ = ("name", "instance", "lifecycle", "connected", "capabilities", "profile", "slots", "attempts", "heard_at", "reason", "provider")
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
    def __init__(self, name: _Optional[str] = ..., instance: _Optional[str] = ..., lifecycle: _Optional[_Union[Lifecycle, str]] = ..., connected: _Optional[bool] = ..., capabilities: _Optional[_Iterable[str]] = ..., profile: _Optional[str] = ..., slots: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[WorkerAttempt, _Mapping]]] = ..., heard_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., provider: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("state", "reasons")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    state: _queue_pb2.TaskState
    reasons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Reason]
    def __init__(self, state: _Optional[_Union[_queue_pb2.TaskState, str]] = ..., reasons: _Optional[_Iterable[_Union[_common_pb2.Reason, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("lifecycle", "strategy", "held")
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    lifecycle: Lifecycle
    strategy: str
    held: _containers.RepeatedCompositeFieldContainer[HeldTask]
    def __init__(self, lifecycle: _Optional[_Union[Lifecycle, str]] = ..., strategy: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldTask, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("meta", "worker", "instance", "lifecycle", "reason")
    META_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    worker: str
    instance: str
    lifecycle: Lifecycle
    reason: _common_pb2.Reason
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., worker: _Optional[str] = ..., instance: _Optional[str] = ..., lifecycle: _Optional[_Union[Lifecycle, str]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...
