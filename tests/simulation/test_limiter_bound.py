"""The limiter's bound through crashes, restarts and clocks that move, on its real store."""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from coord.environment import Environment
from coord.errors import CoordError
from coord.times import duration
from coord.v1 import limiter_pb2
from coord_limiter.service import LimiterService
from coord_runtime.calls import Call
from coord_runtime.service import ServiceContext
from coord_runtime.tokens import Kind, Principal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

SECOND = 10**9
MINUTE = 60 * SECOND
GRAINS = MINUTE
CALL = Call(Principal(Kind.SERVICE, "tester", "p"), "")
# Rate a minute and burst, by bucket and dimension.
LIMITS = {
    ("fast", "tokens"): (6_000, 100),
    ("slow", "tokens"): (30, 40),
    ("slow", "requests"): (12, 3),
}
Step = tuple[str, int, int]


@dataclass
class Granted:
    """A grant that was answered: when, to which buckets, its estimate, and what counts of it."""

    name: str
    at: int
    buckets: tuple[str, ...]
    estimate: dict[str, int]
    counted: dict[str, int]


@dataclass
class World:
    """True time, the clocks that show it more or less, and a limiter that may crash."""

    folder: Path
    now: int = 0
    wall_offset: int = 1_800_000_000 * SECOND
    monotonic_offset: int = 1_000 * SECOND
    granted: list[Granted] = field(default_factory=list)
    open: list[Granted] = field(default_factory=list)
    asked: int = 0
    restarted: bool = False
    limiter: LimiterService = field(init=False)

    async def start(self) -> None:
        environment = Environment(
            lambda: self.now + self.wall_offset,
            lambda: self.now + self.monotonic_offset,
            Random(1),
        )
        self.limiter = await LimiterService.open(
            ServiceContext(
                name="limiter",
                project="p",
                folder=self.folder,
                environment=environment,
                registry=CollectorRegistry(),
                channel=pytest.fail,
                inline_stores=True,
            )
        )

    async def configure(self) -> None:
        for bucket in ("fast", "slow"):
            limits = {
                dimension: limiter_pb2.RateLimit(per_minute=rate, burst=burst)
                for (name, dimension), (rate, burst) in LIMITS.items()
                if name == bucket
            }
            await self.limiter.configure_bucket(
                limiter_pb2.ConfigureBucketRequest(
                    project="p", name=bucket, limits=limiter_pb2.BucketLimits(**limits)
                ),
                CALL,
            )

    async def acquire(self, units: int, pick: int) -> None:
        buckets = (("fast",), ("slow",), ("fast", "slow"))[pick % 3]
        estimate = {"tokens": units % 45, "requests": pick % 2}
        fits = all(
            estimate[key[1]] == 0 or estimate[key[1]] * GRAINS <= self.room(key)
            for key in LIMITS
            if key[0] in buckets
        )
        result = await self._acquire(buckets, estimate)
        if result.HasField("grant"):
            self._note(result.grant_id, buckets, estimate)
        # After a restart less may be granted: what was written ahead counts as given.
        assert result.HasField("grant") == fits or (self.restarted and fits)

    async def crash_in_acquire(self, units: int, pick: int) -> None:
        buckets, estimate = ("fast", "slow"), {"tokens": units % 45, "requests": 1}
        call = asyncio.create_task(self._acquire(buckets, estimate))
        for _ in range(pick % 5):
            await asyncio.sleep(0)
        if call.done() and call.result().HasField("grant"):
            self._note(call.result().grant_id, buckets, estimate)
        self.limiter._database.crash()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def settle(self, units: int, pick: int) -> None:
        if not self.open:
            return
        grant = self.open.pop(pick % len(self.open))
        actual = {"tokens": units, "requests": pick % 2}
        settlement = limiter_pb2.GrantSettlement(
            grant_id=grant.name, actual=limiter_pb2.Quantities(**actual)
        )
        response = await self.limiter.settle_grants(
            limiter_pb2.SettleGrantsRequest(project="p", settlements=[settlement]), CALL
        )
        if not response.results[0].HasField("error"):
            grant.counted = actual

    async def release(self, pick: int) -> None:
        if not self.open:
            return
        grant = self.open.pop(pick % len(self.open))
        response = await self.limiter.release_grants(
            limiter_pb2.ReleaseGrantsRequest(project="p", grant_ids=[grant.name]), CALL
        )
        if not response.results[0].HasField("error"):
            grant.counted = dict.fromkeys(grant.estimate, 0)

    async def report(self, units: int, pick: int) -> None:
        """Have the provider say what it has left; less may be granted then, and never more."""
        observed = limiter_pb2.ObservedLimit(remaining=units)
        retry_after = duration(pick * SECOND) if pick % 4 == 0 else None
        state = limiter_pb2.ProviderState(tokens=observed, retry_after=retry_after)
        before = await self.available()
        request = limiter_pb2.ReportProviderStateRequest(
            project="p", buckets=["fast", "slow"], state=state
        )
        await self.limiter.report_provider_state(request, CALL)
        for name, left in (await self.available()).items():
            assert left <= min(before[name], max(units, 0))
        self.restarted = True

    async def available(self) -> dict[str, int]:
        request = limiter_pb2.ListBucketsRequest(project="p")
        buckets = (await self.limiter.list_buckets(request, CALL)).buckets
        return {bucket.name: bucket.available.tokens for bucket in buckets}

    async def restart(self, down_ns: int, *, reboot: bool) -> None:
        self.now += down_ns
        if reboot:
            self.monotonic_offset = 5 * SECOND - self.now
        self.restarted = True
        await self.start()

    def room(self, key: tuple[str, str]) -> int:
        """What every window that ends now leaves, in grains."""
        rate, burst = LIMITS[key]
        least, charged = burst * GRAINS, 0
        for at, units in reversed(list(self.charges(key))):
            charged += units * GRAINS
            least = min(least, burst * GRAINS + rate * (self.now - at) - charged)
        return least

    def charges(self, key: tuple[str, str]) -> Iterator[tuple[int, int]]:
        bucket, dimension = key
        for grant in self.granted:
            if bucket in grant.buckets:
                yield grant.at, grant.counted[dimension]

    def check(self) -> None:
        """In every window, what was granted is within the bound; what went beyond is left out."""
        for (bucket, dimension), (rate, burst) in LIMITS.items():
            named = [grant for grant in self.granted if bucket in grant.buckets]
            for i, first in enumerate(named):
                total = 0
                for last in named[i:]:
                    total += min(last.estimate[dimension], last.counted[dimension])
                    assert total * GRAINS <= burst * GRAINS + rate * (last.at - first.at)

    async def _acquire(
        self, buckets: tuple[str, ...], estimate: dict[str, int]
    ) -> limiter_pb2.GrantResult:
        self.asked += 1
        request = limiter_pb2.GrantRequest(
            grant_id=f"g{self.asked}",
            buckets=buckets,
            estimate=limiter_pb2.Quantities(**estimate),
        )
        return (await self.decide([request]))[0]

    async def decide(
        self, requests: list[limiter_pb2.GrantRequest]
    ) -> list[limiter_pb2.GrantResult]:
        response = await self.limiter.acquire_grants(
            limiter_pb2.AcquireGrantsRequest(project="p", requests=requests), CALL
        )
        return list(response.results)

    def _note(self, name: str, buckets: tuple[str, ...], estimate: dict[str, int]) -> None:
        grant = Granted(name, self.now, buckets, estimate, dict(estimate))
        self.granted.append(grant)
        self.open.append(grant)


async def live(steps: list[Step], folder: Path, *, reboots: bool) -> None:
    world = World(folder)
    await world.start()
    await world.configure()
    for action, units, pick in steps:
        if action in ("acquire", "settle", "report"):
            await getattr(world, action)(units, pick)
        elif action == "release":
            await world.release(pick)
        elif action == "wait":
            world.now += (units + 1) * 10 ** (5 + pick % 6)
        elif action == "wall goes back":
            world.wall_offset -= units * SECOND
        elif action == "wall goes forward" and not reboots:
            # The monotonic clock tells the truth until a reboot takes it away.
            world.wall_offset += units * MINUTE
        elif action == "stop":
            await world.limiter.stop()
            await world.restart(units * 10**8, reboot=reboots and pick % 2 == 0)
        elif action == "crash":
            await world.crash_in_acquire(units, pick)
            await world.restart(units * 10**8, reboot=reboots and pick % 2 == 0)
    world.check()
    await world.limiter.stop()


histories = st.lists(
    st.tuples(
        st.sampled_from(
            ["acquire"] * 6
            + ["settle", "settle", "release", "wait", "wait", "stop", "crash", "crash"]
            + ["report", "wall goes back", "wall goes forward"]
        ),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    max_size=60,
)


TWO_LARGE = [("acquire", 44, 0)] * 2
LONG_WAIT = ("wait", 59, 5)
CRASH = ("crash", 0, 0)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(steps=histories, reboots=st.booleans())
@example(
    steps=[("acquire", 1, 0), LONG_WAIT, *TWO_LARGE, CRASH, *TWO_LARGE],
    reboots=False,
).via("what was written ahead is not used when it is old")
@example(
    steps=[("acquire", 40, 1), ("wall goes forward", 99, 0), CRASH, ("acquire", 40, 1)],
    reboots=False,
).via("a wall clock that was set forward vouches for nothing")
def test_no_window_passes_its_bound(steps: list[Step], reboots: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(steps, Path(folder), reboots=reboots))


def wanted(number: int) -> limiter_pb2.GrantRequest:
    """The request of an id, one of six; ids that are 6 apart want the same."""
    buckets = (("fast",), ("slow",), ("fast", "slow"))[number % 3]
    estimate = limiter_pb2.Quantities(tokens=7 + number % 2, requests=number % 2)
    return limiter_pb2.GrantRequest(grant_id=f"g{number}", buckets=buckets, estimate=estimate)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.sampled_from([0, 1, 6, 7, 12, 13, 2, 3, 4, 5]), max_size=9), max_size=6)
)
@example([[0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66, 72, 78, 84, 1]])
@example([[2, 8, 14, 20, 26, 32, 0, 38], [8, 0, 44]])
def test_a_batch_is_decided_as_its_requests_are_one_by_one(batches: list[list[int]]) -> None:
    async def run(batched: World, single: World) -> None:
        for world in (batched, single):
            await world.start()
            await world.configure()
        for numbers in batches:
            requests = [wanted(number) for number in numbers]
            alone = [(await single.decide([one]))[0] for one in requests]
            assert await batched.decide(requests) == alone
            assert await batched.available() == await single.available()
            for world in (batched, single):
                world.now += SECOND
        for number in {number for numbers in batches for number in numbers}:
            release = limiter_pb2.ReleaseGrantsRequest(project="p", grant_ids=[f"g{number}"])
            for world in (batched, single):
                await world.limiter.release_grants(release, CALL)
            assert await batched.available() == await single.available()
        for world in (batched, single):
            await world.limiter.stop()

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        asyncio.run(run(World(Path(one)), World(Path(other))))


async def test_a_crash_costs_no_more_than_what_was_written_ahead(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(20, 1)
    world.limiter._database.crash()
    await world.restart(0, reboot=False)
    request = limiter_pb2.GetBucketRequest(project="p", name="slow")
    available = (await world.limiter.get_bucket(request, CALL)).bucket.available
    assert 20 - 4 <= available.tokens <= 20
    world.now += 10 * MINUTE
    available = (await world.limiter.get_bucket(request, CALL)).bucket.available
    assert (available.tokens, available.requests) == (40, 3)
    await world.limiter.stop()


async def test_all_that_a_batch_was_granted_counts_after_a_crash(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(1, 1)
    estimate = limiter_pb2.Quantities(tokens=2)
    requests = [
        limiter_pb2.GrantRequest(grant_id=f"of-{i}", buckets=["slow"], estimate=estimate)
        for i in range(6)
    ]
    assert all(result.HasField("grant") for result in await world.decide(requests))
    world.limiter._database.crash()
    await world.restart(0, reboot=False)
    assert (await world.available())["slow"] <= 40 - 1 - 6 * 2
    await world.limiter.stop()


async def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(20, 1)
    await world.limiter.stop()
    await world.restart(MINUTE // 30, reboot=True)
    request = limiter_pb2.GetBucketRequest(project="p", name="slow")
    available = (await world.limiter.get_bucket(request, CALL)).bucket.available
    assert available.tokens == 21
    await world.limiter.stop()


async def test_a_wall_clock_that_was_set_back_refills_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(40, 1)
    await world.limiter.stop()
    world.wall_offset -= 60 * MINUTE
    await world.restart(MINUTE, reboot=True)
    request = limiter_pb2.GetBucketRequest(project="p", name="slow")
    available = (await world.limiter.get_bucket(request, CALL)).bucket.available
    assert available.tokens == 0
    await world.limiter.stop()


async def test_a_debt_outlives_a_crash(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(1, 1)
    await world.settle(90, 1)
    world.limiter._database.crash()
    await world.restart(0, reboot=False)
    request = limiter_pb2.GetBucketRequest(project="p", name="slow")
    available = (await world.limiter.get_bucket(request, CALL)).bucket.available
    assert available.tokens <= 40 - 90
    await world.limiter.stop()


async def test_grants_that_cannot_be_written_ahead_are_not_given(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    world.limiter._database._sql.execute("PRAGMA query_only = 1")
    # The second is within what the first has begun to write ahead.
    calls = [world.acquire(36, 4), world.acquire(1, 4)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [CoordError, CoordError]
    world.limiter._database._sql.execute("PRAGMA query_only = 0")
    await world.acquire(40, 1)
    assert len(world.granted) == 1
    await world.limiter.stop()


async def test_what_a_caller_left_unwritten_covers_no_further_grants(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    sql = world.limiter._database._sql
    sql.execute("PRAGMA query_only = 1")
    call = asyncio.create_task(world.acquire(36, 4))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    while world.limiter._writer._writes:
        await asyncio.sleep(0)
    sql.execute("PRAGMA query_only = 0")
    changes = sql.total_changes
    world.restarted = True  # The charge of the cancelled call stands, as nobody answered it.
    await world.acquire(1, 4)
    assert sql.total_changes > changes
    await world.limiter.stop()


async def test_grants_within_what_is_written_ahead_need_no_commit(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    await world.configure()
    await world.acquire(1, 0)
    commits = world.limiter._database._sql.total_changes
    for _ in range(90):
        await world.acquire(1, 0)
    assert world.limiter._database._sql.total_changes == commits
    await world.limiter.stop()
