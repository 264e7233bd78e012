"""Runs sides in turns, so that what else the machine does meets all of them alike."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

ROUNDS = 7

Side = Callable[[], Awaitable[float]]


async def in_turns(sides: Mapping[str, Side], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the figures of each side; a first round of each warms up and does not count."""
    for side in sides.values():
        await side()
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            figures[name].append(await side())
    return figures


async def rate(count: int, clients: Iterable[Awaitable[object]]) -> float:
    """Return how many a second of `count` things the clients did together."""
    begin = time.perf_counter()
    await asyncio.gather(*clients)
    return count / (time.perf_counter() - begin)


def percentile(values: list[float], share: float = 0.99) -> float:
    return sorted(values)[int(len(values) * share)]
