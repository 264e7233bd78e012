"""The limiter: requests and tokens a minute."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar, Self

from coord.errors import not_found
from coord.times import from_seconds
from coord.v1 import limiter_pb2
from coord_runtime.calls import Call
from coord_runtime.checks import check_id, page_size
from coord_runtime.database import Database
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind, Principal
from google.protobuf.descriptor import ServiceDescriptor

from coord_limiter import messages
from coord_limiter.admission import Admission, Changes
from coord_limiter.ahead import Clocks
from coord_limiter.bucket import Bucket
from coord_limiter.metrics import LimiterMetrics
from coord_limiter.settings import LimiterSettings
from coord_limiter.sqlite import MIGRATIONS, SqliteLimiterStore
from coord_limiter.writer import AheadWriter


class LimiterService(Service):
    """Grants requests and tokens before calls are made."""

    NAME = "limiter"
    DESCRIPTOR: ClassVar[ServiceDescriptor] = limiter_pb2.DESCRIPTOR.services_by_name[
        "LimiterService"
    ]
    WORKER_METHODS = frozenset({"AcquireGrants", "ReleaseGrants", "SettleGrants"})

    def __init__(self, context: ServiceContext, database: Database) -> None:
        self._environment = context.environment
        self._ttl_ns = from_seconds(context.settings(LimiterSettings).grant_ttl_s)
        self._metrics = LimiterMetrics(context.registry)
        self._database = database
        self._store = SqliteLimiterStore(database)
        self._writer = AheadWriter(self._store)
        self._configuring = asyncio.Lock()
        self._projects: dict[str, Admission] = {}
        for stored in self._store.buckets():
            self._project(stored.project).configure(stored, self._now())

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the limiter on its folder."""
        return cls(context, await context.open_database(MIGRATIONS))

    async def stop(self) -> None:
        """Write down what is in the buckets, so that nothing written ahead is lost, and close."""
        for project, admission in self._projects.items():
            await self._store.write_ahead(project, admission.final_records(self._now()), ())
        await self._database.close()

    async def acquire_grants(
        self, request: limiter_pb2.AcquireGrantsRequest, call: Call
    ) -> limiter_pb2.AcquireGrantsResponse:
        """Take estimates from buckets, for each request all of it or nothing."""
        del call
        asks = [
            messages.ask(f"requests[{i}]", request.worker, each)
            for i, each in enumerate(request.requests)
        ]
        admission, now, changes = self._project(request.project), self._now(), Changes()
        admission.check_ids(asks, now.monotonic_ns)
        outcomes = [admission.acquire(ask, now, changes) for ask in asks]
        await self._writer.commit(request.project, admission, changes, now)
        self._metrics.count(changes, outcomes)
        results = [
            messages.result(ask.grant_id, outcome, self._ttl_ns)
            for ask, outcome in zip(asks, outcomes, strict=True)
        ]
        return limiter_pb2.AcquireGrantsResponse(results=results)

    async def configure_bucket(
        self, request: limiter_pb2.ConfigureBucketRequest, call: Call
    ) -> limiter_pb2.ConfigureBucketResponse:
        """Create a bucket, or change its limits."""
        check_id("name", request.name)
        limits = messages.limits("limits", request.limits)
        admission = self._project(request.project)
        # One at a time, so that memory follows the disk step by step.
        async with self._configuring:
            now = self._now()
            available = admission.preview(request.name, limits, now.monotonic_ns)
            bucket = messages.bucket(request.name, limits, available)
            response = limiter_pb2.ConfigureBucketResponse(bucket=bucket)
            response = await self._store.configure(request, response, now, call.once)
            admission.configure(self._store.bucket(request.project, request.name), self._now())
        return response

    async def get_bucket(
        self, request: limiter_pb2.GetBucketRequest, call: Call
    ) -> limiter_pb2.GetBucketResponse:
        """Return one bucket and what is in it."""
        del call
        check_id("name", request.name)
        bucket = self._project(request.project).buckets.get(request.name)
        if bucket is None:
            raise not_found(
                "BUCKET_NOT_FOUND",
                f"there is no bucket {request.name}: configure it first",
                bucket=request.name,
            )
        return limiter_pb2.GetBucketResponse(bucket=self._message(bucket))

    async def list_buckets(
        self, request: limiter_pb2.ListBucketsRequest, call: Call
    ) -> limiter_pb2.ListBucketsResponse:
        """Return the project's buckets by name."""
        del call
        size, buckets = page_size(request.page_size), self._project(request.project).buckets
        names = sorted(name for name in buckets if name > request.page_token)
        return limiter_pb2.ListBucketsResponse(
            buckets=[self._message(buckets[name]) for name in names[:size]],
            next_page_token=names[size - 1] if len(names) > size else "",
        )

    async def release_grants(
        self, request: limiter_pb2.ReleaseGrantsRequest, call: Call
    ) -> limiter_pb2.ReleaseGrantsResponse:
        """Give grants back whose call was not made."""
        for i, grant_id in enumerate(request.grant_ids):
            check_id(f"grant_ids[{i}]", grant_id)
        admission, owner = self._project(request.project), _owner(call.principal)
        now_ns = self._environment.monotonic_ns()
        results = [
            messages.report(grant_id, admission.release(grant_id, owner, now_ns))
            for grant_id in request.grant_ids
        ]
        return limiter_pb2.ReleaseGrantsResponse(results=results)

    async def settle_grants(
        self, request: limiter_pb2.SettleGrantsRequest, call: Call
    ) -> limiter_pb2.SettleGrantsResponse:
        """Correct grants to what their calls used."""
        settlements = [
            (each.grant_id, messages.amounts(f"settlements[{i}].actual", each.actual))
            for i, each in enumerate(request.settlements)
        ]
        for i, (grant_id, _) in enumerate(settlements):
            check_id(f"settlements[{i}].grant_id", grant_id)
        admission, owner = self._project(request.project), _owner(call.principal)
        now, changes = self._now(), Changes()
        results = [
            messages.report(
                grant_id, admission.settle(grant_id, owner, actual, now.monotonic_ns, changes)
            )
            for grant_id, actual in settlements
        ]
        await self._writer.commit(request.project, admission, changes, now)
        return limiter_pb2.SettleGrantsResponse(results=results)

    async def watch_limiter_events(
        self, request: limiter_pb2.WatchLimiterEventsRequest, call: Call
    ) -> AsyncIterator[limiter_pb2.WatchLimiterEventsResponse]:
        """Send the project's events after a number, then new ones as they happen."""
        del call
        async for events in self._store.watch(request.project, request.after):
            yield limiter_pb2.WatchLimiterEventsResponse(events=events)

    def _message(self, bucket: Bucket) -> limiter_pb2.Bucket:
        limits = {key: gauge.meter.limit for key, gauge in bucket.gauges.items()}
        available = bucket.available(self._environment.monotonic_ns())
        return messages.bucket(bucket.name, limits, available)

    def _now(self) -> Clocks:
        return Clocks(self._environment.now_ns(), self._environment.monotonic_ns())

    def _project(self, name: str) -> Admission:
        if name not in self._projects:
            self._projects[name] = Admission(self._ttl_ns)
        return self._projects[name]


def _owner(principal: Principal) -> str | None:
    """Return whose grants the caller may report on; None for everybody's."""
    return principal.name if principal.kind is Kind.WORKER else None
