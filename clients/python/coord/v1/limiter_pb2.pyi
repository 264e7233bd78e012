import datetime

from coord.v1 import common_pb2 as _common_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
    __slots__ = ("name", "limits", "available")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    limits: BucketLimits
    available: Quantities
    def __init__(self, name: _Optional[str] = ..., limits: _Optional[_Union[BucketLimits, _Mapping]] = ..., available: _Optional[_Union[Quantities, _Mapping]] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("grant_id", "buckets", "estimate")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    buckets: _containers.RepeatedScalarFieldContainer[str]
    estimate: Quantities
    def __init__(self, grant_id: _Optional[str] = ..., buckets: _Optional[_Iterable[str]] = ..., estimate: _Optional[_Union[Quantities, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("retry_after", "reason")
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    retry_after: _duration_pb2.Duration
    reason: _common_pb2.Reason
    def __init__(self, retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("project", "worker", "requests")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    requests: _containers.RepeatedCompositeFieldContainer[GrantRequest]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[GrantRequest, _Mapping]]] = ...) -> None: ...

class AcquireGrantsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GrantResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GrantResult, _Mapping]]] = ...) -> None: ...

class ConfigureBucketRequest(_message.Message):
    __slots__ = ("project", "request_id", "name", "limits")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    project: str
    request_id: str
    name: str
    limits: BucketLimits
    def __init__(self, project: _Optional[str] = ..., request_id: _Optional[str] = ..., name: _Optional[str] = ..., limits: _Optional[_Union[BucketLimits, _Mapping]] = ...) -> None: ...

class ConfigureBucketResponse(_message.Message):
    __slots__ = ("bucket",)
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    bucket: Bucket
    def __init__(self, bucket: _Optional[_Union[Bucket, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("meta", "bucket", "configured", "exhausted")
    META_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    meta: _common_pb2.EventMeta
    bucket: str
    configured: BucketConfigured
    exhausted: BucketExhausted
    def __init__(self, meta: _Optional[_Union[_common_pb2.EventMeta, _Mapping]] = ..., bucket: _Optional[str] = ..., configured: _Optional[_Union[BucketConfigured, _Mapping]] = ..., exhausted: _Optional[_Union[BucketExhausted, _Mapping]] = ...) -> None: ...

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
