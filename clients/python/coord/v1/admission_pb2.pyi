import datetime

from coord.v1 import common_pb2 as _common_pb2
from coord.v1 import limiter_pb2 as _limiter_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallRequest(_message.Message):
    __slots__ = ("call_id", "attempt", "model", "input_tokens", "max_output_tokens", "min_output_tokens", "buckets", "lane")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    attempt: _common_pb2.AttemptRef
    model: str
    input_tokens: int
    max_output_tokens: int
    min_output_tokens: int
    buckets: _containers.RepeatedScalarFieldContainer[str]
    lane: _limiter_pb2.Lane
    def __init__(self, call_id: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., model: _Optional[str] = ..., input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., min_output_tokens: _Optional[int] = ..., buckets: _Optional[_Iterable[str]] = ..., lane: _Optional[_Union[_limiter_pb2.Lane, str]] = ...) -> None: ...

class CallAdmission(_message.Message):
    __slots__ = ("call_id", "reserved", "max_output_tokens", "expires_at")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    reserved: _common_pb2.Money
    max_output_tokens: int
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, call_id: _Optional[str] = ..., reserved: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., max_output_tokens: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CallWait(_message.Message):
    __slots__ = ("call_id", "retry_after", "place", "reason")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    retry_after: _duration_pb2.Duration
    place: int
    reason: _common_pb2.Reason
    def __init__(self, call_id: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., place: _Optional[int] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class CallSettlement(_message.Message):
    __slots__ = ("call_id", "usage", "actual", "headers", "status_code", "attempt", "model", "buckets")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    usage: _common_pb2.Usage
    actual: _common_pb2.Money
    headers: _containers.ScalarMap[str, str]
    status_code: int
    attempt: _common_pb2.AttemptRef
    model: str
    buckets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, call_id: _Optional[str] = ..., usage: _Optional[_Union[_common_pb2.Usage, _Mapping]] = ..., actual: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., headers: _Optional[_Mapping[str, str]] = ..., status_code: _Optional[int] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., model: _Optional[str] = ..., buckets: _Optional[_Iterable[str]] = ...) -> None: ...

class CallSettlementResult(_message.Message):
    __slots__ = ("call_id", "error", "actual")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    error: _common_pb2.ItemError
    actual: _common_pb2.Money
    def __init__(self, call_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ..., actual: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class AdmitRequest(_message.Message):
    __slots__ = ("project", "worker", "request", "wait")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    request: CallRequest
    wait: _duration_pb2.Duration
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., request: _Optional[_Union[CallRequest, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AdmitResponse(_message.Message):
    __slots__ = ("admission", "wait", "refusal")
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    admission: CallAdmission
    wait: CallWait
    refusal: _common_pb2.Reason
    def __init__(self, admission: _Optional[_Union[CallAdmission, _Mapping]] = ..., wait: _Optional[_Union[CallWait, _Mapping]] = ..., refusal: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class SettleCallsRequest(_message.Message):
    __slots__ = ("project", "worker", "settlements")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    worker: str
    settlements: _containers.RepeatedCompositeFieldContainer[CallSettlement]
    def __init__(self, project: _Optional[str] = ..., worker: _Optional[str] = ..., settlements: _Optional[_Iterable[_Union[CallSettlement, _Mapping]]] = ...) -> None: ...

class SettleCallsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CallSettlementResult]
    def __init__(self, results: _Optional[_Iterable[_Union[CallSettlementResult, _Mapping]]] = ...) -> None: ...
