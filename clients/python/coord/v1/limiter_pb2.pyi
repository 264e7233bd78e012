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

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_URGENT: _ClassVar[Lane]
    LANE_NORMAL: _ClassVar[Lane]
    LANE_BACKGROUND: _ClassVar[Lane]

class OutputCounting(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_COUNTING_UNSPECIFIED: _ClassVar[OutputCounting]
    OUTPUT_COUNTING_PRODUCED: _ClassVar[OutputCounting]
    OUTPUT_COUNTING_DECLARED: _ClassVar[OutputCounting]
LANE_UNSPECIFIED: Lane
LANE_URGENT: Lane
LANE_NORMAL: Lane
LANE_BACKGROUND: Lane
OUTPUT_COUNTING_UNSPECIFIED: OutputCounting
OUTPUT_COUNTING_PRODUCED: OutputCounting
OUTPUT_COUNTING_DECLARED: OutputCounting

class Quantities(_message.Message):
    __slots__ = ("requests", "tokens", "input_tokens", "output_tokens")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    requests: int
    tokens: int
    input_tokens: int
    output_tokens: int
    def __init__(self, requests: _Optional[int] = ..., tokens: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("per_minute", "burst")
    PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    per_minute: int
    burst: int
    def __init__(self, per_minute: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class BucketLimits(_message.Message):
    __slots__ = ("requests", "tokens", "input_tokens", "output_tokens")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    requests: RateLimit
    tokens: RateLimit
    input_tokens: RateLimit
    output_tokens: RateLimit
    def __init__(self, requests: _Optional[_Union[RateLimit, _Mapping]] = ..., tokens: _Optional[_Union[RateLimit, _Mapping]] = ..., input_tokens: _Optional[_Union[RateLimit, _Mapping]] = ..., output_tokens: _Optional[_Union[RateLimit, _Mapping]] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("name", "limits", "available", "output_counting", "weights", "paused_until", "waiting")
    class WeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_COUNTING_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    name: str
    limits: BucketLimits
    available: Quantities
    output_counting: OutputCounting
    weights: _containers.ScalarMap[str, float]
    paused_until: _timestamp_pb2.Timestamp
    waiting: int
    def __init__(self, name: _Optional[str] = ..., limits: _Optional[_Union[BucketLimits, _Mapping]] = ..., available: _Optional[_Union[Quantities, _Mapping]] = ..., output_counting: _Optional[_Union[OutputCounting, str]] = ..., weights: _Optional[_Mapping[str, float]] = ..., paused_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., waiting: _Optional[int] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("grant_id", "buckets", "estimate", "lane", "required")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    buckets: _containers.RepeatedScalarFieldContainer[str]
    estimate: Quantities
    lane: Lane
    required: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, grant_id: _Optional[str] = ..., buckets: _Optional[_Iterable[str]] = ..., estimate: _Optional[_Union[Quantities, _Mapping]] = ..., lane: _Optional[_Union[Lane, str]] = ..., required: _Optional[_Iterable[str]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "granted_at", "expires_at")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    granted_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, grant_id: _Optional[str] = ..., granted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GrantWait(_message.Message):
    __slots__ = ("retry_after", "reason", "place")
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    retry_after: _duration_pb2.Duration
    reason: _common_pb2.Reason
    place: int
    def __init__(self, retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., place: _Optional[int] = ...) -> None: ...

class GrantRefusal(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: _common_pb2.Reason
    def __init__(self, reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class GrantResult(_message.Message):
    __slots__ = ("grant_id", "grant", "wait", "refusal")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    grant: Grant
    wait: GrantWait
    refusal: GrantRefusal
    def __init__(self, grant_id: _Optional[str] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., wait: _Optional[_Union[GrantWait, _Mapping]] = ..., refusal: _Optional[_Union[GrantRefusal, _Mapping]] = ...) -> None: ...

class AcquireGrantsRequest(_message.Message):
    __slots__ = ("project", "worker", "requests", "wait")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    requests: _containers.RepeatedCompositeFieldContainer[GrantRequest]
    wait: _duration_pb2.Duration
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[GrantRequest, _Mapping]]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AcquireGrantsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GrantResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GrantResult, _Mapping]]] = ...) -> None: ...

class ConfigureBucketRequest(_message.Message):
    __slots__ = ("project", "request_id", "name", "limits", "output_counting", "weights")
    class WeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_COUNTING_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    name: str
    limits: BucketLimits
    output_counting: OutputCounting
    weights: _containers.ScalarMap[str, float]
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ..., limits: _Optional[_Union[BucketLimits, _Mapping]] = ..., output_counting: _Optional[_Union[OutputCounting, str]] = ..., weights: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ConfigureBucketResponse(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ...) -> None: ...

class ExtendGrantsRequest(_message.Message):
    __slots__ = ("project", "worker", "grant_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    GRANT_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    grant_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., grant_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ExtendGrantsResponse(_message.Message):
    __slots__ = ("results", "expires_at")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GrantReportResult]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, results: _Optional[_Iterable[_Union[GrantReportResult, _Mapping]]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetBucketRequest(_message.Message):
    __slots__ = ("project", "name")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    project: str
    name: str
    def __init__(self, project: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetBucketResponse(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ...) -> None: ...

class ListBucketsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBucketsResponse(_message.Message):
    __slots__ = ("buckets", "next_page_token")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    next_page_token: str
    def __init__(self, buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GrantReportResult(_message.Message):
    __slots__ = ("grant_id", "error")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    error: _common_pb2.ItemError
    def __init__(self, grant_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ReleaseGrantsRequest(_message.Message):
    __slots__ = ("project", "worker", "grant_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    GRANT_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    grant_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., grant_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseGrantsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GrantReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GrantReportResult, _Mapping]]] = ...) -> None: ...

class ObservedLimit(_message.Message):
    __slots__ = ("remaining", "reset_after")
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    remaining: int
    reset_after: _duration_pb2.Duration
    def __init__(self, remaining: _Optional[int] = ..., reset_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ProviderState(_message.Message):
    __slots__ = ("requests", "tokens", "input_tokens", "output_tokens", "retry_after")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    requests: ObservedLimit
    tokens: ObservedLimit
    input_tokens: ObservedLimit
    output_tokens: ObservedLimit
    retry_after: _duration_pb2.Duration
    def __init__(self, requests: _Optional[_Union[ObservedLimit, _Mapping]] = ..., tokens: _Optional[_Union[ObservedLimit, _Mapping]] = ..., input_tokens: _Optional[_Union[ObservedLimit, _Mapping]] = ..., output_tokens: _Optional[_Union[ObservedLimit, _Mapping]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RemoveBucketRequest(_message.Message):
    __slots__ = ("project", "request_id", "name")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    name: str
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RemoveBucketResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReportProviderStateRequest(_message.Message):
    __slots__ = ("project", "worker", "buckets", "state", "headers", "status_code")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    buckets: _containers.RepeatedScalarFieldContainer[str]
    state: ProviderState
    headers: _containers.ScalarMap[str, str]
    status_code: int
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., buckets: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[ProviderState, _Mapping]] = ..., headers: _Optional[_Mapping[str, str]] = ..., status_code: _Optional[int] = ...) -> None: ...

class ReportProviderStateResponse(_message.Message):
    __slots__ = ("understood", "buckets")
    UNDERSTOOD_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    understood: ProviderState
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, understood: _Optional[_Union[ProviderState, _Mapping]] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ...) -> None: ...

class GrantSettlement(_message.Message):
    __slots__ = ("grant_id", "actual")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    actual: Quantities
    def __init__(self, grant_id: _Optional[str] = ..., actual: _Optional[_Union[Quantities, _Mapping]] = ...) -> None: ...

class SettleGrantsRequest(_message.Message):
    __slots__ = ("project", "worker", "settlements")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    settlements: _containers.RepeatedCompositeFieldContainer[GrantSettlement]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., settlements: _Optional[_Iterable[_Union[GrantSettlement, _Mapping]]] = ...) -> None: ...

class SettleGrantsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GrantReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GrantReportResult, _Mapping]]] = ...) -> None: ...

class WatchLimiterEventsRequest(_message.Message):
    __slots__ = ("project", "after")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    project: str
    after: int
    def __init__(self, project: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class WatchLimiterEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[LimiterEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[LimiterEvent, _Mapping]]] = ...) -> None: ...

class LimiterEvent(_message.Message):
    __slots__ = ("meta", "bucket", "configured", "exhausted", "paused", "removed")
    META_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    bucket: str
    configured: BucketConfigured
    exhausted: BucketExhausted
    paused: BucketPaused
    removed: BucketRemoved
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., bucket: _Optional[str] = ..., configured: _Optional[_Union[BucketConfigured, _Mapping]] = ..., exhausted: _Optional[_Union[BucketExhausted, _Mapping]] = ..., paused: _Optional[_Union[BucketPaused, _Mapping]] = ..., removed: _Optional[_Union[BucketRemoved, _Mapping]] = ...) -> None: ...

class BucketConfigured(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: BucketLimits
    def __init__(self, limits: _Optional[_Union[BucketLimits, _Mapping]] = ...) -> None: ...

class BucketExhausted(_message.Message):
    __slots__ = ("worker", "retry_after")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    worker: str
    retry_after: _duration_pb2.Duration
    def __init__(self, worker: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BucketPaused(_message.Message):
    __slots__ = ("worker", "until")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    worker: str
    until: _timestamp_pb2.Timestamp
    def __init__(self, worker: _Optional[str] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BucketRemoved(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
