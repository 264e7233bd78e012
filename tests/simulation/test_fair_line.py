"""The line shares a bucket as an ideal fair queue would, in virtual time."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coord.environment import Environment
from coord.times import SECOND, duration
from coord.v1 import limiter_pb2
from coord_limiter.line import Line
from coord_limiter.service import LimiterService
from coord_runtime.calls import Call
from coord_runtime.service import ServiceContext
from coord_runtime.tokens import Kind, Principal
from prometheus_client import CollectorRegistry

from tests.simulation.loop import run

CALL = Call(Principal(Kind.SERVICE, "tester", "p"), "")
RATE, BURST = 6_000, 100
PER_S = RATE / 60
GREEDY = [f"w{number:02}" for number in range(16)]
LAST_S = 200


@dataclass
class Asked:
    """A request: when it came, how large it is, and when it was granted."""

    worker: str
    at_s: float
    units: int
    granted_s: float = 0.0


async def limiter(folder: Path, **bucket: Any) -> LimiterService:
    loop = asyncio.get_running_loop()
    opened = await LimiterService.open(
        ServiceContext(
            name="limiter",
            project="p",
            folder=folder,
            environment=Environment(
                lambda: 1_800_000_000 * SECOND + round(loop.time() * SECOND),
                lambda: round(loop.time() * SECOND),
                Random(1),
            ),
            registry=CollectorRegistry(),
            channel=pytest.fail,
            inline_stores=True,
        )
    )
    await configure(opened, "b", tokens=(RATE, BURST), **bucket)
    return opened


async def configure(
    opened: LimiterService, name: str, *, weights: Any = None, **dimensions: tuple[int, int]
) -> None:
    limits = {
        key: limiter_pb2.RateLimit(per_minute=rate, burst=burst)
        for key, (rate, burst) in dimensions.items()
    }
    request = limiter_pb2.ConfigureBucketRequest(
        project="p", name=name, limits=limiter_pb2.BucketLimits(**limits), weights=weights
    )
    await opened.configure_bucket(request, CALL)


async def acquire(
    opened: LimiterService,
    name: str,
    units: int,
    worker: str = "w",
    *,
    buckets: tuple[str, ...] = ("b",),
    wait_s: float = 60,
    lane: limiter_pb2.Lane = limiter_pb2.LANE_NORMAL,
) -> limiter_pb2.GrantResult:
    one = limiter_pb2.GrantRequest(
        grant_id=name,
        buckets=buckets,
        estimate=limiter_pb2.Quantities(tokens=units, requests=1),
        lane=lane,
    )
    request = limiter_pb2.AcquireGrantsRequest(
        project="p", worker=worker, requests=[one], wait=duration(round(wait_s * SECOND))
    )
    return (await opened.acquire_grants(request, CALL)).results[0]


def simulated(test: Callable[[LimiterService], Coroutine[Any, Any, None]], folder: Path) -> None:
    async def main() -> None:
        opened = await limiter(folder)
        await test(opened)
        await opened.stop()

    run(main())


async def now_s() -> float:
    return asyncio.get_running_loop().time()


async def compete(opened: LimiterService, chance: Random) -> list[Asked]:
    """Sixteen workers that always want more, and one that asks now and then."""
    asked: list[Asked] = []

    async def ask(worker: str, units: int) -> None:
        one = Asked(worker, await now_s(), units)
        asked.append(one)
        name = f"{worker}-{len(asked)}"
        while (await acquire(opened, name, units, worker)).HasField("wait"):
            pass
        one.granted_s = await now_s()

    async def greedy(worker: str) -> None:
        # Three at a time, so that none ever has nothing in line.
        async def one_after_another() -> None:
            while await now_s() < LAST_S:
                await ask(worker, chance.choice((1, 5, 20, BURST)))

        await asyncio.gather(*(one_after_another() for _ in range(3)))

    async def rare() -> None:
        while await now_s() < LAST_S:
            await asyncio.sleep(chance.uniform(5, 30))
            await ask("rare", chance.choice((1, BURST)))

    await acquire(opened, "drain", BURST)
    await asyncio.gather(*map(greedy, GREEDY), rare())
    return asked


def ideal_finish(asked: list[Asked], weights: dict[str, float]) -> list[float]:
    """Return when each is finished by a queue that serves all who wait at the same time."""
    arrivals = deque(sorted(range(len(asked)), key=lambda i: asked[i].at_s))
    queues: dict[str, deque[int]] = {}
    left = [float(one.units) for one in asked]
    finish, at_s = [0.0] * len(asked), 0.0
    while arrivals or queues:
        total = sum(weights.get(worker, 1.0) for worker in queues)
        speed = {worker: PER_S * weights.get(worker, 1.0) / total for worker in queues}
        ends = {worker: at_s + left[queue[0]] / speed[worker] for worker, queue in queues.items()}
        next_end = min(ends.values(), default=float("inf"))
        arrival = asked[arrivals[0]].at_s if arrivals else float("inf")
        until = min(next_end, arrival)
        for worker, queue in queues.items():
            left[queue[0]] -= speed[worker] * (until - at_s)
        at_s = until
        if arrival <= next_end:
            queues.setdefault(asked[arrivals[0]].worker, deque()).append(arrivals.popleft())
            continue
        worker = min(ends, key=ends.__getitem__)
        finish[queues[worker].popleft()] = at_s
        if not queues[worker]:
            del queues[worker]
    return finish


@pytest.mark.parametrize("weights", [{}, {"w00": 4.0, "w01": 0.5}])
def test_all_get_their_share_and_none_is_later_than_in_an_ideal_queue(
    tmp_path: Path, weights: dict[str, float]
) -> None:
    asked: list[Asked] = []

    async def main() -> None:
        opened = await limiter(tmp_path, weights=weights)
        asked.extend(await compete(opened, Random(7)))
        await opened.stop()

    run(main())
    got: Counter[str] = Counter()
    for one in asked:
        if one.granted_s <= LAST_S:
            got[one.worker] += one.units
    shares = [got[worker] / weights.get(worker, 1.0) for worker in GREEDY]
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    assert jain >= 0.99
    level, last_s = 0.0, 0.0
    for one in sorted(asked, key=lambda one: one.granted_s):
        level = min(BURST, level + PER_S * (one.granted_s - last_s)) - one.units
        last_s = one.granted_s
        assert level > -1e-3
    largest_s = BURST / PER_S
    for one, finish in zip(asked, ideal_finish(asked, weights), strict=True):
        assert one.granted_s <= finish + largest_s + 0.01
    # Nothing was left unused while somebody waited.
    last = max(one.granted_s for one in asked)
    assert sum(one.units for one in asked) >= PER_S * last - 1


def test_a_large_request_is_not_starved_by_small_ones(tmp_path: Path) -> None:
    async def check(opened: LimiterService) -> None:
        await acquire(opened, "drain", BURST)
        large = asyncio.create_task(acquire(opened, "large", BURST, "a"))
        await asyncio.sleep(0)
        small = [asyncio.create_task(acquire(opened, f"s{i}", 1, "b")) for i in range(500)]
        await large
        # Half of what came in was its own.
        assert await now_s() <= 2.1 * BURST / PER_S
        await asyncio.gather(*small)

    simulated(check, tmp_path)


def test_who_waits_for_one_bucket_does_not_idle_another(tmp_path: Path) -> None:
    async def check(opened: LimiterService) -> None:
        pausing = limiter_pb2.ReportProviderStateRequest(
            project="p", buckets=["other"], headers={"retry-after": "50"}
        )
        await opened.report_provider_state(pausing, CALL)
        both = asyncio.create_task(acquire(opened, "both", 50, "a", buckets=("b", "other")))
        await asyncio.sleep(0)
        for number in range(90):
            assert (await acquire(opened, f"n{number}", 50, "c")).HasField("grant")
        # As fast as if nobody waited: its turn is at 50 s, and there will be room for it again.
        assert await now_s() == pytest.approx(44.0, abs=0.1)
        line = [asyncio.create_task(acquire(opened, f"l{i}", 50, "c")) for i in range(20)]
        assert (await both).HasField("grant")
        assert await now_s() == pytest.approx(50.0, abs=0.1)
        await asyncio.gather(*line)

    simulated(check, tmp_path)


def test_who_comes_late_gets_its_share_from_then_on_and_no_more(tmp_path: Path) -> None:
    got: Counter[str] = Counter()

    async def check(opened: LimiterService) -> None:
        async def greedy(worker: str, *, first: int) -> None:
            number = first
            while await now_s() < 90:
                number += 1
                await acquire(opened, f"{worker}-{number}", 10, worker)
                got[worker] += 10 * (60 <= await now_s() < 90)

        early = [greedy(name, first=first) for name in "ab" for first in (0, 10**6)]
        working = asyncio.gather(*early)
        await asyncio.sleep(60)
        await asyncio.gather(working, *(greedy("c", first=first) for first in (0, 10**6)))

    simulated(check, tmp_path)
    for worker in "abc":
        assert got[worker] == pytest.approx(30 * PER_S / 3, rel=0.03)


def test_a_wait_tells_its_place_and_its_time(tmp_path: Path) -> None:
    async def check(opened: LimiterService) -> None:
        await acquire(opened, "drain", BURST)
        line = [asyncio.create_task(acquire(opened, f"l{i}", 50, f"w{i}")) for i in range(3)]
        await asyncio.sleep(0)
        wait = (await acquire(opened, "last", 100, "x", wait_s=0)).wait
        assert wait.place == 4
        assert wait.retry_after.ToNanoseconds() == pytest.approx(2.5 * SECOND, rel=0.01)
        await asyncio.gather(*line)
        assert await now_s() == pytest.approx(1.5, abs=0.01)

    simulated(check, tmp_path)


def test_a_long_line_is_looked_along_a_few_times_a_round_and_not_once_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: Counter[str] = Counter()
    key = Line._key
    monkeypatch.setattr(Line, "_key", lambda *args: keys.update(["made"]) or key(*args))

    async def check(opened: LimiterService) -> None:
        await configure(opened, "slow", requests=(1, 1))
        await acquire(opened, "drain", 1, buckets=("slow",))

        async def ask(number: int) -> int:
            one = await acquire(opened, f"l{number}", 1, f"w{number}", buckets=("slow",), wait_s=10)
            return one.wait.place

        for _ in range(3):
            keys.clear()
            assert sorted(await asyncio.gather(*map(ask, range(500)))) == [*range(1, 501)]
            assert keys["made"] <= 10 * 500
        # Those who have gone away are counted no more, a little later.
        await asyncio.sleep(6)
        assert (await acquire(opened, "next", 1, buckets=("slow",), wait_s=0)).wait.place == 1

    simulated(check, tmp_path)


def test_an_urgent_request_goes_first_and_an_old_one_becomes_urgent(tmp_path: Path) -> None:
    order: list[str] = []

    async def check(opened: LimiterService) -> None:
        await acquire(opened, "drain", BURST)

        async def ask(name: str, lane: limiter_pb2.Lane) -> None:
            while (await acquire(opened, name, BURST, name, lane=lane)).HasField("wait"):
                pass
            order.append(name)

        asking = [asyncio.create_task(ask("background", limiter_pb2.LANE_BACKGROUND))]
        await asyncio.sleep(0.01)
        asking += [asyncio.create_task(ask("normal", limiter_pb2.LANE_NORMAL))]
        asking += [asyncio.create_task(ask("urgent", limiter_pb2.LANE_URGENT))]
        for number in range(150):
            await asyncio.sleep(0.99)
            name = f"urgent-{number}"
            asking.append(asyncio.create_task(ask(name, limiter_pb2.LANE_URGENT)))
        await asyncio.gather(*asking)

    simulated(check, tmp_path)
    assert order[0] == "urgent"
    assert 55 < order.index("normal") < 65
    assert 110 < order.index("background") < 130


def test_a_place_is_kept_for_who_asks_again_and_lost_by_who_does_not(tmp_path: Path) -> None:
    async def check(opened: LimiterService) -> None:
        await acquire(opened, "drain", BURST)
        assert (await acquire(opened, "first", BURST, "a", wait_s=0.5)).wait.place == 1
        second = asyncio.create_task(acquire(opened, "second", BURST, "b"))
        await asyncio.sleep(0.1)
        assert (await acquire(opened, "first", BURST, "a")).HasField("grant")
        assert await now_s() == pytest.approx(1.0, abs=0.01)
        assert (await second).HasField("grant")
        await acquire(opened, "gone", BURST, "a", wait_s=0.5)
        await asyncio.sleep(6)
        await acquire(opened, "other", 1, "b")
        assert not len(opened._line)

    simulated(check, tmp_path)


def test_grants_that_cannot_be_brought_to_disk_are_told_to_who_waited(tmp_path: Path) -> None:
    async def check(opened: LimiterService) -> None:
        await acquire(opened, "drain", BURST)
        waiting = [asyncio.create_task(acquire(opened, f"next-{i}", BURST)) for i in range(2)]
        # What was written ahead is old by the time of the second.
        await waiting[0]
        opened._database._sql.execute("PRAGMA query_only = 1")
        with pytest.raises(Exception, match="readonly"):
            await waiting[1]
        opened._database._sql.execute("PRAGMA query_only = 0")
        assert (await acquire(opened, "next-1", BURST, wait_s=0)).HasField("grant")

    simulated(check, tmp_path)
