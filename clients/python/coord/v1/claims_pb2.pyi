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

class ClaimState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLAIM_STATE_UNSPECIFIED: _ClassVar[ClaimState]
    CLAIM_STATE_WAITING: _ClassVar[ClaimState]
    CLAIM_STATE_GRANTED: _ClassVar[ClaimState]
    CLAIM_STATE_RELEASED: _ClassVar[ClaimState]
    CLAIM_STATE_EXPIRED: _ClassVar[ClaimState]
    CLAIM_STATE_REFUSED: _ClassVar[ClaimState]
CLAIM_STATE_UNSPECIFIED: ClaimState
CLAIM_STATE_WAITING: ClaimState
CLAIM_STATE_GRANTED: ClaimState
CLAIM_STATE_RELEASED: ClaimState
CLAIM_STATE_EXPIRED: ClaimState
CLAIM_STATE_REFUSED: ClaimState

class Resource(_message.Message):
    __slots__ = ("path", "name", "shared")
    PATH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    path: str
    name: str
    shared: bool
    def __init__(self, path: _Optional[str] = ..., name: _Optional[str] = ..., shared: _Optional[bool] = ...) -> None: ...

class ClaimRequest(_message.Message):
    __slots__ = ("claim_id", "resources", "attempt", "lease")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    attempt: _common_pb2.AttemptRef
    lease: _duration_pb2.Duration
    def __init__(self, claim_id: _Optional[str] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("claim_id", "holder", "attempt", "resources", "state", "fencing_token", "asked_at", "granted_at", "expires_at")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    GRANTED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    holder: str
    attempt: _common_pb2.AttemptRef
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    state: ClaimState
    fencing_token: int
    asked_at: _timestamp_pb2.Timestamp
    granted_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, claim_id: _Optional[str] = ..., holder: _Optional[str] = ..., attempt: _Optional[_Union[_common_pb2.AttemptRef, _Mapping]] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., state: _Optional[_Union[ClaimState, str]] = ..., fencing_token: _Optional[int] = ..., asked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., granted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ClaimWait(_message.Message):
    __slots__ = ("place", "reasons")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    place: int
    reasons: _containers.RepeatedCompositeFieldContainer[_common_pb2.Reason]
    def __init__(self, place: _Optional[int] = ..., reasons: _Optional[_Iterable[_Union[_common_pb2.Reason, _Mapping]]] = ...) -> None: ...

class ClaimResult(_message.Message):
    __slots__ = ("claim_id", "claim", "wait", "refusal")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    claim: Claim
    wait: ClaimWait
    refusal: _common_pb2.Reason
    def __init__(self, claim_id: _Optional[str] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., wait: _Optional[_Union[ClaimWait, _Mapping]] = ..., refusal: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class AcquireClaimsRequest(_message.Message):
    __slots__ = ("project", "holder", "requests", "wait")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    project: str
    holder: str
    requests: _containers.RepeatedCompositeFieldContainer[ClaimRequest]
    wait: _duration_pb2.Duration
    def __init__(self, project: _Optional[str] = ..., holder: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[ClaimRequest, _Mapping]]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AcquireClaimsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClaimResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ClaimResult, _Mapping]]] = ...) -> None: ...

class ListClaimsRequest(_message.Message):
    __slots__ = ("project", "resources", "holder", "page_size", "page_token", "keeps_changes")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEEPS_CHANGES_FIELD_NUMBER: _ClassVar[int]
    project: str
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    holder: str
    page_size: int
    page_token: str
    keeps_changes: bool
    def __init__(self, project: _Optional[str] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ..., holder: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., keeps_changes: _Optional[bool] = ...) -> None: ...

class ListClaimsResponse(_message.Message):
    __slots__ = ("claims", "next_page_token")
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    next_page_token: str
    def __init__(self, claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReleaseClaimsRequest(_message.Message):
    __slots__ = ("project", "holder", "claim_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    holder: str
    claim_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., holder: _Optional[str] = ..., claim_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReleaseClaimsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClaimReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ClaimReportResult, _Mapping]]] = ...) -> None: ...

class RenewClaimsRequest(_message.Message):
    __slots__ = ("project", "holder", "claim_ids")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_IDS_FIELD_NUMBER: _ClassVar[int]
    project: str
    holder: str
    claim_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project: _Optional[str] = ..., holder: _Optional[str] = ..., claim_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewClaimsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClaimReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ClaimReportResult, _Mapping]]] = ...) -> None: ...

class ClaimReportResult(_message.Message):
    __slots__ = ("claim_id", "expires_at", "error")
    CLAIM_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    claim_id: str
    expires_at: _timestamp_pb2.Timestamp
    error: _common_pb2.ItemError
    def __init__(self, claim_id: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.ItemError, _Mapping]] = ...) -> None: ...
