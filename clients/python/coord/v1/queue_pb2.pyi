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

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_PENDING: _ClassVar[TaskState]
    TASK_STATE_ASSIGNED: _ClassVar[TaskState]
    TASK_STATE_RUNNING: _ClassVar[TaskState]
    TASK_STATE_MERGING: _ClassVar[TaskState]
    TASK_STATE_COMPLETE: _ClassVar[TaskState]
    TASK_STATE_FAILED: _ClassVar[TaskState]
    TASK_STATE_CANCELLED: _ClassVar[TaskState]
    TASK_STATE_ABORTED: _ClassVar[TaskState]

class FailureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_REASON_UNSPECIFIED: _ClassVar[FailureReason]
    FAILURE_REASON_AGENT_ERROR: _ClassVar[FailureReason]
    FAILURE_REASON_TIMEOUT: _ClassVar[FailureReason]
    FAILURE_REASON_CHECK_FAILED: _ClassVar[FailureReason]
    FAILURE_REASON_CONFLICT: _ClassVar[FailureReason]
    FAILURE_REASON_WORKER_LOST: _ClassVar[FailureReason]
    FAILURE_REASON_RATE_LIMITED: _ClassVar[FailureReason]
    FAILURE_REASON_OUT_OF_BUDGET: _ClassVar[FailureReason]
    FAILURE_REASON_RELEASED: _ClassVar[FailureReason]
    FAILURE_REASON_CANCELLED: _ClassVar[FailureReason]
    FAILURE_REASON_DEPENDENCY_FAILED: _ClassVar[FailureReason]
    FAILURE_REASON_AGENT_CRASHED: _ClassVar[FailureReason]
    FAILURE_REASON_REFUSED: _ClassVar[FailureReason]
    FAILURE_REASON_NO_CHANGE: _ClassVar[FailureReason]
    FAILURE_REASON_AGENT_UNAVAILABLE: _ClassVar[FailureReason]

class LeaseDirective(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_DIRECTIVE_UNSPECIFIED: _ClassVar[LeaseDirective]
    LEASE_DIRECTIVE_CONTINUE: _ClassVar[LeaseDirective]
    LEASE_DIRECTIVE_CANCEL: _ClassVar[LeaseDirective]
    LEASE_DIRECTIVE_REVOKE: _ClassVar[LeaseDirective]

class QueueEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUEUE_EVENT_KIND_UNSPECIFIED: _ClassVar[QueueEventKind]
    QUEUE_EVENT_KIND_DEPENDENCIES_ADDED: _ClassVar[QueueEventKind]
    QUEUE_EVENT_KIND_PAUSED: _ClassVar[QueueEventKind]
    QUEUE_EVENT_KIND_REMOVED: _ClassVar[QueueEventKind]
    QUEUE_EVENT_KIND_RESUMED: _ClassVar[QueueEventKind]
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_PENDING: TaskState
TASK_STATE_ASSIGNED: TaskState
TASK_STATE_RUNNING: TaskState
TASK_STATE_MERGING: TaskState
TASK_STATE_COMPLETE: TaskState
TASK_STATE_FAILED: TaskState
TASK_STATE_CANCELLED: TaskState
TASK_STATE_ABORTED: TaskState
FAILURE_REASON_UNSPECIFIED: FailureReason
FAILURE_REASON_AGENT_ERROR: FailureReason
FAILURE_REASON_TIMEOUT: FailureReason
FAILURE_REASON_CHECK_FAILED: FailureReason
FAILURE_REASON_CONFLICT: FailureReason
FAILURE_REASON_WORKER_LOST: FailureReason
FAILURE_REASON_RATE_LIMITED: FailureReason
FAILURE_REASON_OUT_OF_BUDGET: FailureReason
FAILURE_REASON_RELEASED: FailureReason
FAILURE_REASON_CANCELLED: FailureReason
FAILURE_REASON_DEPENDENCY_FAILED: FailureReason
FAILURE_REASON_AGENT_CRASHED: FailureReason
FAILURE_REASON_REFUSED: FailureReason
FAILURE_REASON_NO_CHANGE: FailureReason
FAILURE_REASON_AGENT_UNAVAILABLE: FailureReason
LEASE_DIRECTIVE_UNSPECIFIED: LeaseDirective
LEASE_DIRECTIVE_CONTINUE: LeaseDirective
LEASE_DIRECTIVE_CANCEL: LeaseDirective
LEASE_DIRECTIVE_REVOKE: LeaseDirective
QUEUE_EVENT_KIND_UNSPECIFIED: QueueEventKind
QUEUE_EVENT_KIND_DEPENDENCIES_ADDED: QueueEventKind
QUEUE_EVENT_KIND_PAUSED: QueueEventKind
QUEUE_EVENT_KIND_REMOVED: QueueEventKind
QUEUE_EVENT_KIND_RESUMED: QueueEventKind

class RetryPolicy(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TaskSpec(_message.Message):
    __slots__ = ("id", "title", "prompt", "payload", "deps", "priority", "category", "required_capabilities", "paths", "retry_policy", "timeout", "labels", "budget", "expects_change")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DEPS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    EXPECTS_CHANGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    prompt: str
    payload: bytes
    deps: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    category: str
    required_capabilities: _containers.RepeatedScalarFieldContainer[str]
    paths: _containers.RepeatedScalarFieldContainer[str]
    retry_policy: RetryPolicy
    timeout: _duration_pb2.Duration
    labels: _containers.ScalarMap[str, str]
    budget: _common_pb2.Money
    expects_change: bool
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., prompt: _Optional[str] = ..., payload: _Optional[bytes] = ..., deps: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ..., category: _Optional[str] = ..., required_capabilities: _Optional[_Iterable[str]] = ..., paths: _Optional[_Iterable[str]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., budget: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., expects_change: _Optional[bool] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "fencing_token", "worker", "assigned_at", "started_at", "submitted_at", "ended_at", "lease_expires_at", "reason", "message", "detail", "progress", "ready_at")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    number: int
    fencing_token: int
    worker: str
    assigned_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    submitted_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    lease_expires_at: _timestamp_pb2.Timestamp
    reason: FailureReason
    message: str
    detail: str
    progress: _common_pb2.Progress
    ready_at: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., fencing_token: _Optional[int] = ..., worker: _Optional[str] = ..., assigned_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., submitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[FailureReason, str]] = ..., message: _Optional[str] = ..., detail: _Optional[str] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ..., ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("spec", "state", "attempts_used", "workers_lost", "deps_left", "not_before", "created_at", "changed_at", "attempts", "reason", "message", "ready_at")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_USED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_LOST_FIELD_NUMBER: _ClassVar[int]
    DEPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    spec: TaskSpec
    state: TaskState
    attempts_used: int
    workers_lost: int
    deps_left: int
    not_before: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    changed_at: _timestamp_pb2.Timestamp
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    reason: FailureReason
    message: str
    ready_at: _timestamp_pb2.Timestamp
    def __init__(self, spec: _Optional[_Union[TaskSpec, _Mapping]] = ..., state: _Optional[_Union[TaskState, str]] = ..., attempts_used: _Optional[int] = ..., workers_lost: _Optional[int] = ..., deps_left: _Optional[int] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., reason: _Optional[_Union[FailureReason, str]] = ..., message: _Optional[str] = ..., ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("spec", "attempt", "previous")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    spec: TaskSpec
    attempt: Attempt
    previous: Attempt
    def __init__(self, spec: _Optional[_Union[TaskSpec, _Mapping]] = ..., attempt: _Optional[_Union[Attempt, _Mapping]] = ..., previous: _Optional[_Union[Attempt, _Mapping]] = ...) -> None: ...

class ReportResult(_message.Message):
    __slots__ = ("task_id", "state", "error")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    state: TaskState
    error: _common_pb2.ItemError
    def __init__(self, task_id: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class AddDependenciesRequest(_message.Message):
    __slots__ = ("project", "request_id", "dependencies")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    dependencies: _containers.RepeatedCompositeFieldContainer[TaskDependencies]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., dependencies: _Optional[_Iterable[_Union[TaskDependencies, _Mapping]]] = ...) -> None: ...

class AddDependenciesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class TaskDependencies(_message.Message):
    __slots__ = ("task_id", "deps")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DEPS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    deps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, task_id: _Optional[str] = ..., deps: _Optional[_Iterable[str]] = ...) -> None: ...

class AddTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "tasks")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    tasks: _containers.RepeatedCompositeFieldContainer[TaskSpec]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[TaskSpec, _Mapping]]] = ...) -> None: ...

class AddTasksResponse(_message.Message):
    __slots__ = ("task_ids", "existing")
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    EXISTING_FIELD_NUMBER: _ClassVar[int]
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    existing: int
    def __init__(self, task_ids: _Optional[_Iterable[str]] = ..., existing: _Optional[int] = ...) -> None: ...

class AssignTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "worker", "task_ids", "workers")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    worker: str
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    workers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., worker: _Optional[str] = ..., task_ids: _Optional[_Iterable[str]] = ..., workers: _Optional[_Iterable[str]] = ...) -> None: ...

class AssignTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AssignTasksResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AssignTasksResult, _Mapping]]] = ...) -> None: ...

class AssignTasksResult(_message.Message):
    __slots__ = ("task_id", "lease", "error")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    lease: Lease
    error: _common_pb2.ItemError
    def __init__(self, task_id: _Optional[str] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class CancelTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "task_ids", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    message: str
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., task_ids: _Optional[_Iterable[str]] = ..., message: _Optional[str] = ...) -> None: ...

class CancelTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("attempt", "message", "cause")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    message: str
    cause: _common_pb2.EventRef
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., message: _Optional[str] = ..., cause: _Optional[_Union[_common_pb2.EventRef, _Mapping]] = ...) -> None: ...

class CompleteTasksRequest(_message.Message):
    __slots__ = ("project", "worker", "completions")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ...) -> None: ...

class CompleteTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class ExplainTaskRequest(_message.Message):
    __slots__ = ("project", "task_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    task_id: str
    def __init__(self, project: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class ExplainTaskResponse(_message.Message):
    __slots__ = ("state", "reasons")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    state: TaskState
    reasons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Reason]
    def __init__(self, state: _Optional[_Union[TaskState, str]] = ..., reasons: _Optional[_Iterable[_Union[_common_pb2.Reason, _Mapping]]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("attempt", "reason", "message", "detail", "cause", "not_before")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    reason: FailureReason
    message: str
    detail: str
    cause: _common_pb2.EventRef
    not_before: _timestamp_pb2.Timestamp
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., reason: _Optional[_Union[FailureReason, str]] = ..., message: _Optional[str] = ..., detail: _Optional[str] = ..., cause: _Optional[_Union[_common_pb2.EventRef, _Mapping]] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FailTasksRequest(_message.Message):
    __slots__ = ("project", "worker", "failures")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    failures: _containers.RepeatedCompositeFieldContainer[Failure]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., failures: _Optional[_Iterable[_Union[Failure, _Mapping]]] = ...) -> None: ...

class FailTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class GetDependencyGraphRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetDependencyGraphResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[GraphNode]
    next_page_token: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ("task_id", "title", "state", "deps", "deps_left")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DEPS_FIELD_NUMBER: _ClassVar[int]
    DEPS_LEFT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    title: str
    state: TaskState
    deps: _containers.RepeatedScalarFieldContainer[str]
    deps_left: int
    def __init__(self, task_id: _Optional[str] = ..., title: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., deps: _Optional[_Iterable[str]] = ..., deps_left: _Optional[int] = ...) -> None: ...

class GetQueueStatsRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class GetQueueStatsResponse(_message.Message):
    __slots__ = ("counts", "ready", "ended", "oldest_ready_at", "added_per_second", "assigned_per_second", "completed_per_second", "paused_message")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READY_AT_FIELD_NUMBER: _ClassVar[int]
    ADDED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    PAUSED_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedCompositeFieldContainer[TaskStateCount]
    ready: int
    ended: int
    oldest_ready_at: _timestamp_pb2.Timestamp
    added_per_second: float
    assigned_per_second: float
    completed_per_second: float
    paused_message: str
    def __init__(self, counts: _Optional[_Iterable[_Union[TaskStateCount, _Mapping]]] = ..., ready: _Optional[int] = ..., ended: _Optional[int] = ..., oldest_ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., added_per_second: _Optional[float] = ..., assigned_per_second: _Optional[float] = ..., completed_per_second: _Optional[float] = ..., paused_message: _Optional[str] = ...) -> None: ...

class TaskStateCount(_message.Message):
    __slots__ = ("state", "count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    state: TaskState
    count: int
    def __init__(self, state: _Optional[_Union[TaskState, str]] = ..., count: _Optional[int] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("project", "task_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    task_id: str
    def __init__(self, project: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class GetTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: Task
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class LeaseTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "worker", "max_tasks", "capabilities", "wait", "excluded_paths")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MAX_TASKS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_PATHS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    worker: str
    max_tasks: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    wait: _duration_pb2.Duration
    excluded_paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., worker: _Optional[str] = ..., max_tasks: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., excluded_paths: _Optional[_Iterable[str]] = ...) -> None: ...

class LeaseTasksResponse(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ...) -> None: ...

class ListReadyTasksRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListReadyTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_ready_at", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_READY_AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskSpec]
    next_ready_at: _timestamp_pb2.Timestamp
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskSpec, _Mapping]]] = ..., next_ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token", "states", "worker", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[TaskState]
    worker: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[TaskState, str]]] = ..., worker: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PauseQueueRequest(_message.Message):
    __slots__ = ("project", "message")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    project: str
    message: str
    def __init__(self, project: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PauseQueueResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Reassignment(_message.Message):
    __slots__ = ("attempt", "worker")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    worker: str
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., worker: _Optional[str] = ...) -> None: ...

class ReassignTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "reassignments")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    reassignments: _containers.RepeatedCompositeFieldContainer[Reassignment]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., reassignments: _Optional[_Iterable[_Union[Reassignment, _Mapping]]] = ...) -> None: ...

class ReassignTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AssignTasksResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AssignTasksResult, _Mapping]]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("attempt", "message", "progress")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    message: str
    progress: _common_pb2.Progress
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., message: _Optional[str] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ...) -> None: ...

class ReleaseTasksRequest(_message.Message):
    __slots__ = ("project", "worker", "releases")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., releases: _Optional[_Iterable[_Union[Release, _Mapping]]] = ...) -> None: ...

class ReleaseTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class RemoveTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "task_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., task_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class LeaseRenewal(_message.Message):
    __slots__ = ("attempt", "progress")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    attempt: _common_pb2.AttemptRef
    progress: _common_pb2.Progress
    def __init__(self, attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ...) -> None: ...

class RenewLeasesRequest(_message.Message):
    __slots__ = ("project", "worker", "renewals")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    RENEWALS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    renewals: _containers.RepeatedCompositeFieldContainer[LeaseRenewal]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., renewals: _Optional[_Iterable[_Union[LeaseRenewal, _Mapping]]] = ...) -> None: ...

class RenewLeasesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[LeaseRenewalResult]
    def __init__(self, results: _Optional[_Iterable[_Union[LeaseRenewalResult, _Mapping]]] = ...) -> None: ...

class LeaseRenewalResult(_message.Message):
    __slots__ = ("task_id", "directive", "expires_at")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    directive: LeaseDirective
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, task_id: _Optional[str] = ..., directive: _Optional[_Union[LeaseDirective, str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResumeQueueRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class ResumeQueueResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RetryTasksRequest(_message.Message):
    __slots__ = ("project", "request_id", "task_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., task_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class StartTasksRequest(_message.Message):
    __slots__ = ("project", "worker", "attempts")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    attempts: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class StartTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class SubmitTasksRequest(_message.Message):
    __slots__ = ("project", "worker", "attempts")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    attempts: _containers.RepeatedCompositeFieldContainer[_common_pb2.AttemptRef]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[_common_pb2.AttemptRef, _Mapping]]] = ...) -> None: ...

class SubmitTasksResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class WatchQueueEventsRequest(_message.Message):
    __slots__ = ("project", "after")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    project: str
    after: int
    def __init__(self, project: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class WatchQueueEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[QueueEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[QueueEvent, _Mapping]]] = ...) -> None: ...

class QueueEvent(_message.Message):
    __slots__ = ("meta", "task_id", "from_state", "to_state", "fencing_token", "worker", "reason", "message", "kind", "deps")
    META_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_STATE_FIELD_NUMBER: _ClassVar[int]
    TO_STATE_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DEPS_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    task_id: str
    from_state: TaskState
    to_state: TaskState
    fencing_token: int
    worker: str
    reason: FailureReason
    message: str
    kind: QueueEventKind
    deps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., task_id: _Optional[str] = ..., from_state: _Optional[_Union[TaskState, str]] = ..., to_state: _Optional[_Union[TaskState, str]] = ..., fencing_token: _Optional[int] = ..., worker: _Optional[str] = ..., reason: _Optional[_Union[FailureReason, str]] = ..., message: _Optional[str] = ..., kind: _Optional[_Union[QueueEventKind, str]] = ..., deps: _Optional[_Iterable[str]] = ...) -> None: ...
