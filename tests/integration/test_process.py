"""Processes that end with the coroutine that waits for them."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from coord.process import run_process

from tests.integration.waiting import gone, until

_STUBBORN = "trap '' TERM; sleep 60 & echo $! $$ > pids; wait; wait"


async def test_a_command_that_ignores_the_signal_is_killed_with_what_it_has_started(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(
        run_process("/bin/sh", "-c", _STUBBORN, folder=tmp_path, grace_s=0.1)
    )
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in pids.read_text().split():
        await until(partial(gone, int(pid)))


async def test_a_command_that_ends_tells_its_status(tmp_path: Path) -> None:
    assert await run_process("/bin/sh", "-c", "exit 7", folder=tmp_path) == 7
