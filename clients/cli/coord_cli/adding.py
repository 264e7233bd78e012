"""Stores a plan: its tasks, its limits and its cap."""

import grpc.aio
from coord.errors import from_rpc
from coord.v1 import ledger_pb2, limiter_pb2, queue_pb2

from coord_cli.command import Services, UsageProblem
from coord_cli.edits import UNSUCCESSFUL
from coord_cli.plan import RUN_LABEL, Plan
from coord_cli.plan_specs import batches, bucket_limits, money, run_scope, task_specs
from coord_cli.plan_tables import LimitTable
from coord_cli.snapshot import tasks_of


async def add_plan(plan: Plan, services: Services) -> int:
    """Store a plan's tasks, limits and cap; return how many tasks were there already.

    Raises:
        UsageProblem: Tasks of the same ids are there, with another content.
    """
    project, content = services.project, plan.content
    for name, table in content.limits.items():
        await _limit(name, table, services)
    if content.plan.budget is not None:
        cap = money(content.plan.budget)
        await services.ledger.SetBudget(
            ledger_pb2.SetBudgetRequest(project=project, scope=run_scope(plan.name), cap=cap)
        )
    existing = 0
    for batch in batches(task_specs(plan)):
        existing += await _add(batch, services, plan)
    return existing


async def _limit(name: str, table: LimitTable, services: Services) -> None:
    """Set what a plan names of a bucket's limits; what the operator has set beside it stays."""
    stored = await _bucket(name, services)
    limits = limiter_pb2.BucketLimits()
    limits.CopyFrom(stored.limits)
    limits.MergeFrom(bucket_limits(table))
    await services.limiter.ConfigureBucket(
        limiter_pb2.ConfigureBucketRequest(
            project=services.project,
            name=name,
            limits=limits,
            output_counting=stored.output_counting,
            weights=stored.weights,
        )
    )


async def _bucket(name: str, services: Services) -> limiter_pb2.Bucket:
    """Return a bucket, without limits where there is none of that name."""
    request = limiter_pb2.GetBucketRequest(project=services.project, name=name)
    try:
        return (await services.limiter.GetBucket(request)).bucket
    except grpc.aio.AioRpcError as failure:
        if from_rpc(failure).reason != "BUCKET_NOT_FOUND":
            raise
        return limiter_pb2.Bucket()


async def _add(batch: list[queue_pb2.TaskSpec], services: Services, plan: Plan) -> int:
    request = queue_pb2.AddTasksRequest(project=services.project, tasks=batch)
    try:
        return (await services.queue.AddTasks(request)).existing
    except grpc.aio.AioRpcError as failure:
        error = from_rpc(failure)
        if error.reason != "TASK_EXISTS":
            raise
        raise UsageProblem(f"{plan.path}: {error.message}") from failure


async def retry_failed(plan: Plan, services: Services) -> list[str]:
    """Make the plan's tasks that ended without success ready again; return their ids."""
    tasks = await tasks_of(services, labels={RUN_LABEL: plan.name}, states=UNSUCCESSFUL)
    ids = [one.spec.id for one in tasks if plan.chosen is None or one.spec.id in plan.chosen]
    for begin in range(0, len(ids), 1_000):
        request = queue_pb2.RetryTasksRequest(
            project=services.project, task_ids=ids[begin : begin + 1_000]
        )
        await services.queue.RetryTasks(request)
    return ids
