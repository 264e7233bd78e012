"""Calls of many as few: what comes meanwhile goes with the next one."""

import asyncio

import pytest
from coord_coordinator.batches import Batches


class Doubling:
    """Answers a batch once it is let; keeps what it was sent."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def send(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        await self.go.wait()
        if -13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


async def test_what_comes_while_a_call_is_under_way_shares_the_next_one() -> None:
    doubling = Doubling()
    batches = Batches(doubling.send)
    first = asyncio.create_task(batches.add(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(batches.add(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    doubling.go.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert doubling.batches == [[1], [2, 3, 4]]


async def test_a_batch_that_fails_fails_for_all_in_it_and_for_no_other() -> None:
    doubling = Doubling()
    batches = Batches(doubling.send)
    unlucky = [asyncio.create_task(batches.add(number)) for number in (1, -13)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = asyncio.create_task(batches.add(5))
    await asyncio.sleep(0)
    doubling.go.set()
    for one in unlucky:
        with pytest.raises(ValueError, match="unlucky"):
            await one
    assert await later == 10


async def test_a_batch_has_at_most_a_thousand_items() -> None:
    doubling = Doubling()
    doubling.go.set()
    batches = Batches(doubling.send)
    results = await asyncio.gather(*(batches.add(number) for number in range(2_500)))
    assert results == [2 * number for number in range(2_500)]
    assert [len(batch) for batch in doubling.batches] == [1_000, 1_000, 500]


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    doubling = Doubling()
    batches = Batches(doubling.send)
    gone = asyncio.create_task(batches.add(1))
    stays = asyncio.create_task(batches.add(2))
    await asyncio.sleep(0)
    gone.cancel()
    doubling.go.set()
    assert await stays == 4
