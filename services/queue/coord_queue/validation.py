"""What a task must look like."""

from collections.abc import Iterable

from coord.errors import CoordError
from coord.times import duration_ns
from coord.v1 import queue_pb2 as pb
from coord_runtime.checks import (
    DETAIL_BYTES_MAX,
    GLOB_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    RESOURCES_MAX,
    check_attempts,
    check_id,
    check_ids,
    check_money,
    check_one_of,
    check_range,
    check_text,
    invalid_field,
)

_TITLE_BYTES_MAX = 1_024
_BODY_BYTES_MAX = 2**20
_PRIORITY_MAX = 1_000_000
_ATTEMPTS_MAX = 100
_LABELS_MAX = 64
_DURATION_MAX_NS = 366 * 24 * 3600 * 10**9


def check_spec(spec: pb.TaskSpec) -> None:
    """Check one task of a batch; its id is set.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_FIELD, naming task and field.
    """
    check_id("tasks.id", spec.id)
    try:
        _check_fields(spec)
    except CoordError as error:
        field = f"task {spec.id}: {error.metadata['field']}"
        message = error.message.partition(": ")[2]
        raise invalid_field(field, message) from None


def check_failure(failure: pb.Failure) -> None:
    """Check the report of a failure."""
    check_attempts("failures.attempt", [failure.attempt])
    check_one_of("failures.reason", failure.reason, pb.FailureReason.values())
    check_text("failures.message", failure.message, MESSAGE_BYTES_MAX)
    check_text("failures.detail", failure.detail, DETAIL_BYTES_MAX)


def check_paths(field: str, paths: Iterable[str]) -> None:
    """Check globs of files."""
    for path in paths:
        check_text(field, path, GLOB_BYTES_MAX)


def _check_fields(spec: pb.TaskSpec) -> None:
    if spec.ByteSize() > _TITLE_BYTES_MAX:  # No text in a smaller one is too long.
        _check_sizes(spec)
    check_range("priority", spec.priority, -_PRIORITY_MAX, _PRIORITY_MAX)
    if spec.deps:
        check_ids("deps", spec.deps)
        if len(set(spec.deps)) != len(spec.deps):
            raise invalid_field("deps", "names a task twice")
    if spec.required_capabilities:
        check_ids("required_capabilities", spec.required_capabilities)
    check_range("paths", len(spec.paths), 0, RESOURCES_MAX)
    if spec.category:
        check_id("category", spec.category)
    if labels := spec.labels:
        check_range("labels", len(labels), 0, _LABELS_MAX)
        check_ids("labels", labels)
    if spec.HasField("retry_policy"):
        _check_policy(spec.retry_policy)
    if spec.HasField("timeout"):
        check_range("timeout ns", duration_ns(spec.timeout), 0, _DURATION_MAX_NS)
    if spec.HasField("budget"):
        check_money("budget", spec.budget, positive=True)


def _check_sizes(spec: pb.TaskSpec) -> None:
    check_text("title", spec.title, _TITLE_BYTES_MAX)
    check_text("prompt", spec.prompt, _BODY_BYTES_MAX)
    check_range("payload bytes", len(spec.payload), 0, _BODY_BYTES_MAX)
    check_paths("paths", spec.paths)
    for key, value in spec.labels.items():
        check_text(f"labels.{key}", value, MESSAGE_BYTES_MAX)


def _check_policy(policy: pb.RetryPolicy) -> None:
    check_range("retry_policy.max_attempts", policy.max_attempts, 0, _ATTEMPTS_MAX)
    first_ns, longest_ns = duration_ns(policy.initial_backoff), duration_ns(policy.max_backoff)
    check_range("retry_policy.initial_backoff ns", first_ns, 0, _DURATION_MAX_NS)
    check_range("retry_policy.max_backoff ns", longest_ns, 0, _DURATION_MAX_NS)
