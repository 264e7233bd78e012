"""The one error type of Coord, and its form on the wire.

An error is a canonical gRPC status with one `google.rpc.ErrorInfo` in its details. UNAVAILABLE and
RESOURCE_EXHAUSTED also carry a `RetryInfo`, FAILED_PRECONDITION a `PreconditionFailure`.
"""

from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from coord.times import duration, duration_ns

DOMAIN = "coord"
STATUS_KEY = "grpc-status-details-bin"
# What says nothing of a call: who was asked is away, or starts again.
AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# Metadata over 8 KiB breaks HTTP/2 streams; this leaves room for the rest.
_MESSAGE_BYTES_MAX = 2_048
_VALUE_BYTES_MAX = 512

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class CoordError(Exception):
    """A call that could not be served.

    Attributes:
        code: The canonical status.
        reason: Stable and machine-readable, in UPPER_SNAKE_CASE.
        message: For people: what is wrong and what to do.
        metadata: Small values that go with the reason.
        retry_after_ns: When trying again may help; None where it will not.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        metadata: dict[str, str] | None = None,
        retry_after_ns: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata or {}
        self.retry_after_ns = retry_after_ns

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"

    def to_status(self) -> status_pb2.Status:
        """Return the error as it travels."""
        status = status_pb2.Status(code=self.code.value[0], message=_cut(self.message))
        for detail in self._details():
            status.details.add().Pack(detail)
        return status

    def _details(
        self,
    ) -> list[
        error_details_pb2.ErrorInfo
        | error_details_pb2.RetryInfo
        | error_details_pb2.PreconditionFailure
    ]:
        metadata = {key: value[:_VALUE_BYTES_MAX] for key, value in self.metadata.items()}
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata)
        if self.retry_after_ns is not None:
            retry = error_details_pb2.RetryInfo(retry_delay=duration(self.retry_after_ns))
            return [info, retry]
        if self.code is grpc.StatusCode.FAILED_PRECONDITION:
            return [info, _precondition(self.reason, self.message)]
        return [info]


def _cut(text: str) -> str:
    return text.encode()[:_MESSAGE_BYTES_MAX].decode(errors="ignore")


def _precondition(reason: str, message: str) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=reason, description=_cut(message)
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])


def invalid_argument(reason: str, message: str, **metadata: str) -> CoordError:
    """Return an error for input that can never be right."""
    return CoordError(grpc.StatusCode.INVALID_ARGUMENT, reason, message, metadata)


def not_found(reason: str, message: str, **metadata: str) -> CoordError:
    """Return an error for a thing that is not there."""
    return CoordError(grpc.StatusCode.NOT_FOUND, reason, message, metadata)


def already_exists(reason: str, message: str, **metadata: str) -> CoordError:
    """Return an error for a thing that is there already and differs."""
    return CoordError(grpc.StatusCode.ALREADY_EXISTS, reason, message, metadata)


def failed_precondition(reason: str, message: str, **metadata: str) -> CoordError:
    """Return an error for a call that the present state does not allow."""
    return CoordError(grpc.StatusCode.FAILED_PRECONDITION, reason, message, metadata)


def permission_denied(reason: str, message: str, **metadata: str) -> CoordError:
    """Return an error for a principal that may not do this."""
    return CoordError(grpc.StatusCode.PERMISSION_DENIED, reason, message, metadata)


def unauthenticated(reason: str, message: str) -> CoordError:
    """Return an error for a caller without a valid token."""
    return CoordError(grpc.StatusCode.UNAUTHENTICATED, reason, message)


def unavailable(reason: str, message: str, *, retry_after_ns: int, **metadata: str) -> CoordError:
    """Return an error for a service that cannot answer now."""
    return CoordError(grpc.StatusCode.UNAVAILABLE, reason, message, metadata, retry_after_ns)


def resource_exhausted(
    reason: str, message: str, *, retry_after_ns: int, **metadata: str
) -> CoordError:
    """Return an error for a caller that asks for more than its share."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    return CoordError(code, reason, message, metadata, retry_after_ns)


def from_rpc(error: grpc.RpcError) -> CoordError:
    """Return what a failed call said, as the error that its server raised.

    An error that is not Coord's own, such as a broken connection, has reason `TRANSPORT`.
    """
    code, details = error.code(), error.details() or ""
    status = _status_of(error)
    if status is None:
        return CoordError(code, "TRANSPORT", details)
    info, retry_after_ns = error_details_pb2.ErrorInfo(), None
    for detail in status.details:
        detail.Unpack(info)
        retry_after_ns = _retry_after_ns(detail, retry_after_ns)
    metadata = dict(info.metadata)
    return CoordError(
        _CODES[status.code], info.reason or "TRANSPORT", status.message, metadata, retry_after_ns
    )


def _status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == STATUS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _retry_after_ns(detail: any_pb2.Any, default: int | None) -> int | None:
    retry = error_details_pb2.RetryInfo()
    return duration_ns(retry.retry_delay) if detail.Unpack(retry) else default
