"""Processes that end with the coroutine that waits for them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path


async def run_process(
    *argv: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    grace_s: float = 5.0,
) -> int:
    """Run a command to its end; return its exit status.

    When the coroutine is cancelled, the command's process group gets SIGTERM, and SIGKILL once
    `grace_s` is over.

    Raises:
        OSError: The command or the folder is not there.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, env=environment, start_new_session=True
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            await _end(process, grace_s)


async def _end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    try:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
