"""Virtual time: the order of what comes due is that in which it was set, on any machine."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from tests.simulation.loop import run


async def _order_of_ten(others: int) -> list[int]:
    """Set ten timers for one moment, among others for later; return the order they came in."""
    loop = asyncio.get_running_loop()
    came: list[int] = []
    for number in range(10):
        for _ in range(others):
            loop.call_at(10.0 - number, lambda: None)
        loop.call_at(1.0, came.append, number)
    await asyncio.sleep(2)
    return came


@pytest.mark.parametrize("others", [0, 1, 5])
def test_of_timers_due_at_once_the_first_set_is_the_first_run(others: int) -> None:
    assert run(_order_of_ten(others)) == list(range(10))


async def _gaps() -> list[float]:
    loop = asyncio.get_running_loop()
    came: list[float] = []
    for number in range(3):
        loop.call_at(1 + number / 1000, lambda: came.append(loop.time()))
    await asyncio.sleep(2)
    return came


def test_nothing_comes_early_where_the_machines_clock_is_coarse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coarse = SimpleNamespace(resolution=0.004)
    monkeypatch.setattr(time, "get_clock_info", lambda _: coarse)
    assert run(_gaps()) == pytest.approx([1.0, 1.001, 1.002], abs=1e-9)
