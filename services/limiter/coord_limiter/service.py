"""The limiter: requests and tokens a minute."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext
from itertools import count
from typing import ClassVar, Self

from coord.errors import not_found
from coord.times import SECOND, duration_ns, from_seconds, set_timestamp, timestamp
from coord.v1 import limiter_pb2
from coord_runtime.calls import Call
from coord_runtime.checks import check_id, check_ids, check_range, page_size
from coord_runtime.database import Database
from coord_runtime.service import Service, ServiceContext
from coord_runtime.tokens import Kind, Principal
from google.protobuf.descriptor import ServiceDescriptor

from coord_limiter import messages
from coord_limiter.admission import Admission, Changes
from coord_limiter.ahead import Clocks, Record
from coord_limiter.bucket import Bucket, Shortage
from coord_limiter.grants import Ask, HeldGrant
from coord_limiter.line import Line, Waiting
from coord_limiter.metrics import LimiterMetrics
from coord_limiter.provider import observed
from coord_limiter.settings import LimiterSettings
from coord_limiter.sharing import Buckets
from coord_limiter.sqlite import MIGRATIONS, SqliteLimiterStore
from coord_limiter.store import Place
from coord_limiter.turns import Turns
from coord_limiter.writer import AheadWriter

_WAIT_NS_MAX = 60 * SECOND
# How long the place of one is kept whose caller has gone away.
_PLACE_KEPT_NS = 5 * SECOND
_REPORTED_MAX = 16
_Outcome = HeldGrant | Shortage | Waiting


class LimiterService(Service):
    """Grants requests and tokens before calls are made."""

    NAME = "limiter"
    DESCRIPTOR: ClassVar[ServiceDescriptor] = limiter_pb2.DESCRIPTOR.services_by_name[
        "LimiterService"
    ]
    WORKER_METHODS = frozenset(
        {
            "AcquireGrants",
            "ExtendGrants",
            "ListBuckets",
            "ReleaseGrants",
            "ReportProviderState",
            "SettleGrants",
        }
    )

    def __init__(self, context: ServiceContext, database: Database) -> None:
        self._environment = context.environment
        settings = context.settings(LimiterSettings)
        self._ttl_ns = from_seconds(settings.grant_ttl_s)
        self._database = database
        self._store = SqliteLimiterStore(database)
        self._writer = AheadWriter(self._store)
        self._configuring = asyncio.Lock()
        self._projects: dict[str, Admission] = {}
        self._shared: dict[str, Bucket] = {}
        self._serials = count(1)
        self._line = Line(_PLACE_KEPT_NS, from_seconds(settings.lane_age_s))
        self._metrics = LimiterMetrics(context.registry, self._line)
        self._turns = Turns(self._line, self._writer, self._projects, self._metrics, self._now)
        for stored in self._store.buckets():
            self._project(stored.project).configure(stored, self._now())

    @classmethod
    async def open(cls, context: ServiceContext) -> Self:
        """Open the limiter on its folder."""
        return cls(context, await context.open_database(MIGRATIONS))

    async def stop(self) -> None:
        """Write down what is in the buckets, so that nothing written ahead is lost, and close."""
        await self._turns.stop()
        for project, admission in self._projects.items():
            records = _final_records(admission.buckets.values(), self._now())
            await self._store.write_ahead(project, records, (), {})
        await self._database.close()

    async def acquire_grants(
        self, request: limiter_pb2.AcquireGrantsRequest, call: Call
    ) -> limiter_pb2.AcquireGrantsResponse:
        """Take estimates from buckets, for each request all of it or nothing."""
        del call
        asks = messages.asks(request)
        wait_ns = duration_ns(request.wait) if request.HasField("wait") else 0
        check_range("wait, in ns", wait_ns, 0, _WAIT_NS_MAX)
        admission, now, changes = self._project(request.project), self._now(), Changes()
        all_new = admission.check_ids(asks, now.monotonic_ns)
        outcomes: list[_Outcome] = []
        if len(self._line):
            self._line.check_ids(request.project, asks)
        elif all_new:
            outcomes += admission.grant_first(asks, now, changes)
        for ask in asks[len(outcomes) :]:
            outcomes.append(self._decide(request.project, ask, wait_ns, now, changes))
        waiting = [each for each in outcomes if isinstance(each, Waiting)]
        with self._turns.standing(waiting) if waiting else nullcontext():
            await self._writer.commit(request.project, admission, changes, now)
            self._metrics.of(request.project).count(changes)
            if waiting:
                await self._turns.wait(waiting, wait_ns)
            told = [self._told(*each) for each in zip(asks, outcomes, strict=True)]
        return messages.answer(told, self._ttl_ns)

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
            bucket = messages.bucket(request.name, limits, available, messages.rules(request))
            response = limiter_pb2.ConfigureBucketResponse(bucket=bucket)
            response = await self._store.configure(request, response, now, call.once)
            stored = self._store.bucket(request.project, request.name)
            if stored is not None:
                admission.configure(stored, self._now())
        self._turns.serve()
        return response

    async def extend_grants(
        self, request: limiter_pb2.ExtendGrantsRequest, call: Call
    ) -> limiter_pb2.ExtendGrantsResponse:
        """Let grants live for another full time."""
        check_ids("grant_ids", request.grant_ids)
        admission, owner, now = self._project(request.project), _owner(call.principal), self._now()
        results = [
            messages.report(grant_id, admission.extend(grant_id, owner, now.monotonic_ns))
            for grant_id in request.grant_ids
        ]
        expires_at = timestamp(now.wall_ns + self._ttl_ns)
        return limiter_pb2.ExtendGrantsResponse(results=results, expires_at=expires_at)

    async def get_bucket(
        self, request: limiter_pb2.GetBucketRequest, call: Call
    ) -> limiter_pb2.GetBucketResponse:
        """Return one bucket and what is in it."""
        del call
        bucket = _present(self._project(request.project), request.name)
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
        check_ids("grant_ids", request.grant_ids)
        admission, owner = self._project(request.project), _owner(call.principal)
        now_ns = self._environment.monotonic_ns()
        results = [
            messages.report(grant_id, admission.release(grant_id, owner, now_ns))
            for grant_id in request.grant_ids
        ]
        self._turns.serve()
        return limiter_pb2.ReleaseGrantsResponse(results=results)

    async def remove_bucket(
        self, request: limiter_pb2.RemoveBucketRequest, call: Call
    ) -> limiter_pb2.RemoveBucketResponse:
        """Take a bucket away."""
        admission = self._project(request.project)
        async with self._configuring:
            if call.once is None or self._database.remembered(call.once) is None:
                _present(admission, request.name)
                await self._store.remove(request, call.once)
                admission.remove(request.name)
        self._turns.serve()
        return limiter_pb2.RemoveBucketResponse()

    async def report_provider_state(
        self, request: limiter_pb2.ReportProviderStateRequest, call: Call
    ) -> limiter_pb2.ReportProviderStateResponse:
        """Bring buckets down to what their provider says of its limits."""
        del call
        check_ids("buckets", request.buckets)
        check_range("buckets: how many", len(request.buckets), 1, _REPORTED_MAX)
        admission, now = self._project(request.project), self._now()
        said, changes = observed(request, now.wall_ns), Changes(worker=request.worker)
        for name in request.buckets:
            admission.shrink(name, said, now, changes)
        await self._writer.commit(request.project, admission, changes, now)
        return limiter_pb2.ReportProviderStateResponse(
            understood=said.message(),
            buckets=[self._message(admission.buckets[name]) for name in request.buckets],
        )

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
        self._turns.serve()
        return limiter_pb2.SettleGrantsResponse(results=results)

    async def watch_limiter_events(
        self, request: limiter_pb2.WatchLimiterEventsRequest, call: Call
    ) -> AsyncIterator[limiter_pb2.WatchLimiterEventsResponse]:
        """Send the project's events after a number, then new ones as they happen."""
        del call
        async for events in self._store.watch(request.project, request.after):
            yield limiter_pb2.WatchLimiterEventsResponse(events=events)

    def _message(self, bucket: Bucket) -> limiter_pb2.Bucket:
        now = self._now()
        limits = {key: gauge.meter.limit for key, gauge in bucket.gauges.items()}
        available = bucket.available(now.monotonic_ns)
        message = messages.bucket(bucket.name, limits, available, bucket.rules)
        message.waiting = self._line.waiting_for(bucket)
        if pause_ns := bucket.pause_ns(now.monotonic_ns):
            set_timestamp(message.paused_until, now.wall_ns + pause_ns)
        return message

    def _decide(
        self, project: str, ask: Ask, wait_ns: int, now: Clocks, changes: Changes
    ) -> _Outcome:
        """Decide a request at once; put it in line where that cannot be, or others wait."""
        admission = self._projects[project]
        held = admission.known(ask, now.monotonic_ns, changes)
        if held is not None:
            return held
        if missing := admission.missing(ask.want):
            return missing
        named = admission.buckets.named(ask.want.buckets)
        shortage = admission.shortage(ask.want, named, now.monotonic_ns)
        if shortage is None and not len(self._line):
            return admission.grant([ask], named, now, changes)[0]
        if shortage is not None:
            admission.refuse(ask.want, shortage, changes)
            self._metrics.of(project).count_shortage(shortage)
            if shortage.retry_after_ns is None or not (wait_ns or len(self._line)):
                return shortage
        waiting = self._line.find(project, ask.grant_id)
        if waiting is None:
            waiting = self._line.join(project, ask, named, now.monotonic_ns)
            waiting.passing = True
        waiting.passing = waiting.passing and not wait_ns
        return waiting

    def _told(self, ask: Ask, outcome: _Outcome) -> HeldGrant | messages.NotGranted:
        if isinstance(outcome, HeldGrant):
            return outcome
        if isinstance(outcome, Shortage):
            return messages.NotGranted(ask.grant_id, outcome)
        if outcome.decided.done():
            return outcome.decided.result()
        place, shortage = self._line.outlook(outcome, self._environment.monotonic_ns())
        return messages.NotGranted(ask.grant_id, shortage, place)

    def _now(self) -> Clocks:
        return Clocks(self._environment.now_ns(), self._environment.monotonic_ns())

    def _project(self, name: str) -> Admission:
        if name not in self._projects:
            buckets = Buckets(self._shared)
            self._projects[name] = Admission(self._ttl_ns, buckets, self._serials)
        return self._projects[name]


def _present(admission: Admission, name: str) -> Bucket:
    """Return a bucket that is asked for by name."""
    check_id("name", name)
    bucket = admission.buckets.get(name)
    if bucket is None:
        message = f"there is no bucket {name}: configure it first"
        raise not_found("BUCKET_NOT_FOUND", message, bucket=name)
    return bucket


def _owner(principal: Principal) -> str | None:
    """Return whose grants the caller may report on; None for everybody's."""
    return principal.name if principal.kind is Kind.WORKER else None


def _final_records(buckets: Iterable[Bucket], now: Clocks) -> dict[Place, Record]:
    """Return records of buckets, of a limiter that gives no more."""
    return {
        (bucket.name, dimension): gauge.final_record(now)
        for bucket in buckets
        for dimension, gauge in bucket.gauges.items()
    }
