"""What a plan means in the terms of the contract."""

from collections.abc import Iterator
from typing import Any

from coord.times import duration
from coord.v1 import common_pb2, ledger_pb2, limiter_pb2, queue_pb2

from coord_cli.amounts import CURRENCY
from coord_cli.plan import RUN_LABEL, Plan
from coord_cli.plan_graph import in_order
from coord_cli.plan_tables import LimitTable, TaskFields, TaskTable

_BATCH_MAX = 1_000
# A request of the services' may have 8 MiB; a prompt at most 1 MiB.
_BATCH_BYTES_MAX = 4 * 2**20


def task_specs(plan: Plan) -> list[queue_pb2.TaskSpec]:
    """Return the tasks of a plan that are wanted, each after what it depends on."""
    tasks = {task.id: task for task in plan.tasks}
    order = in_order({task.id: task.deps for task in tasks.values()})
    return [_spec(tasks[task_id], plan) for task_id in order]


def batches(specs: list[queue_pb2.TaskSpec]) -> Iterator[list[queue_pb2.TaskSpec]]:
    """Yield the tasks in batches that one request can carry."""
    batch: list[queue_pb2.TaskSpec] = []
    size = 0
    for spec in specs:
        if batch and (len(batch) == _BATCH_MAX or size + spec.ByteSize() > _BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(spec)
        size += spec.ByteSize()
    if batch:
        yield batch


def money(nanos: int) -> common_pb2.Money:
    """Return an amount of billionths of a dollar."""
    return common_pb2.Money(currency=CURRENCY, nanos=nanos)


def run_scope(name: str) -> ledger_pb2.Scope:
    """Return what a plan's costs are counted for."""
    return ledger_pb2.Scope(kind=ledger_pb2.SCOPE_KIND_RUN, id=name)


def bucket_limits(table: LimitTable) -> limiter_pb2.BucketLimits:
    """Return a bucket's limits; a dimension's burst is a minute's worth where none is given."""
    limits = limiter_pb2.BucketLimits()
    for dimension in ("requests", "tokens", "input_tokens", "output_tokens"):
        rate = getattr(table, f"{dimension}_per_minute")
        if rate is not None:
            burst = getattr(table, f"{dimension}_burst") or rate
            limit = limiter_pb2.RateLimit(per_minute=rate, burst=burst)
            getattr(limits, dimension).CopyFrom(limit)
    return limits


def _spec(task: TaskTable, plan: Plan) -> queue_pb2.TaskSpec:
    defaults = plan.content.defaults
    labels = (defaults.labels or {}) | (task.labels or {}) | {RUN_LABEL: plan.name}
    spec = queue_pb2.TaskSpec(
        id=task.id,
        title=task.title or task.id,
        prompt=plan.prompts[task.id],
        deps=task.deps,
        priority=_either(task, defaults, "priority"),
        category=_either(task, defaults, "category") or "",
        required_capabilities=_either(task, defaults, "capabilities") or (),
        paths=_either(task, defaults, "paths") or (),
        labels=labels,
        expects_change=_either(task, defaults, "expects_change") or False,
    )
    if (retries := _either(task, defaults, "retries")) is not None:
        spec.retry_policy.max_attempts = retries + 1
    if (timeout := _either(task, defaults, "timeout")) is not None:
        spec.timeout.CopyFrom(duration(timeout))
    if (budget := _either(task, defaults, "budget")) is not None:
        spec.budget.CopyFrom(money(budget))
    return spec


def _either(task: TaskFields, defaults: TaskFields, name: str) -> Any:
    value = getattr(task, name)
    return getattr(defaults, name) if value is None else value
