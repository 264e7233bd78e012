"""What a task must look like."""

from coord.times import duration_ns
from coord.v1 import queue_pb2 as pb
from coord_runtime.checks import (
    MESSAGE_BYTES_MAX,
    check_id,
    check_ids,
    check_money,
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
    field = f"task {spec.id}: "
    check_text(f"{field}title", spec.title, _TITLE_BYTES_MAX)
    check_text(f"{field}prompt", spec.prompt, _BODY_BYTES_MAX)
    check_range(f"{field}payload bytes", len(spec.payload), 0, _BODY_BYTES_MAX)
    check_range(f"{field}priority", spec.priority, -_PRIORITY_MAX, _PRIORITY_MAX)
    _check_lists(field, spec)
    _check_policy(field, spec)
    if spec.HasField("budget"):
        check_money(f"{field}budget", spec.budget, positive=True)


def _check_lists(field: str, spec: pb.TaskSpec) -> None:
    check_ids(f"{field}deps", spec.deps)
    if len(set(spec.deps)) != len(spec.deps):
        raise invalid_field(f"{field}deps", "names a task twice")
    check_ids(f"{field}required_capabilities", spec.required_capabilities)
    if spec.category:
        check_id(f"{field}category", spec.category)
    for path in spec.paths:
        check_text(f"{field}paths", path, MESSAGE_BYTES_MAX)
    check_range(f"{field}labels", len(spec.labels), 0, _LABELS_MAX)
    for key, value in spec.labels.items():
        check_id(f"{field}labels", key)
        check_text(f"{field}labels.{key}", value, MESSAGE_BYTES_MAX)


def _check_policy(field: str, spec: pb.TaskSpec) -> None:
    policy = spec.retry_policy
    check_range(f"{field}retry_policy.max_attempts", policy.max_attempts, 0, _ATTEMPTS_MAX)
    durations = {
        "retry_policy.initial_backoff": policy.initial_backoff,
        "retry_policy.max_backoff": policy.max_backoff,
        "timeout": spec.timeout,
    }
    for name, value in durations.items():
        check_range(f"{field}{name} ns", duration_ns(value), 0, _DURATION_MAX_NS)
