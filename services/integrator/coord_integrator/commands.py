"""Runs the operator's commands: the check, and the set-up of a worktree.

Each runs in a process group of its own, with a mark of its own in its environment. What is in the
group or bears the mark is ended with it: nothing that a command has left in the background goes on
to write into the next one's files. Only what has cleared its environment as well escapes.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from coord_integrator.git import MARKER, scrubbed_environment

OUTPUT_BYTES_MAX = 64 * 2**10
STOPPED = -1

# Tells the runs of one integrator apart.
_RUN = "COORD_INTEGRATOR_RUN"
_runs = itertools.count(1)
_ROUNDS_MAX = 10

_CHUNK = 2**16
_DRAIN_S = 1.0
_TERMINATE_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    Attributes:
        exit_status: 0 to 255, 128 + n where signal n ended it, -1 where its timeout did.
        output: The end of what it printed, at most 64 KiB.
    """

    exit_status: int
    output: str

    @property
    def passed(self) -> bool:
        """Whether it succeeded."""
        return self.exit_status == 0


async def run_command(
    command: str, folder: Path, marker: Path, timeout_s: float, **variables: str
) -> CommandResult:
    """Run a shell command to its end, or to its timeout.

    Args:
        command: What `/bin/sh` runs.
        folder: Where.
        marker: Goes into the environment, so that `end_strays` finds what a kill has left.
        timeout_s: Longest time, in seconds.
        variables: More environment variables.
    """
    mark = f"{os.getpid()}-{next(_runs)}"
    async with _pipe() as (stream, write_end):
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                command,
                cwd=folder,
                env={**scrubbed_environment(), MARKER: str(marker), _RUN: mark, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        tail = _Tail()
        reader = asyncio.create_task(tail.read(stream))
        try:
            status = await _wait(process, timeout_s)
        finally:
            _kill_group(process.pid)
            await asyncio.to_thread(_kill_marked, str(marker), mark)
            await _drain(reader)
            await process.wait()
    return CommandResult(status, tail.text())


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Open a pipe; its writing end is the caller's to close.

    With a pipe of asyncio's own, the end of a process would be told only when all that it has begun
    have closed theirs.
    """
    read_end, write_end = os.pipe()
    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb", 0)
    )
    try:
        yield stream, write_end
    finally:
        transport.close()


async def end_strays(marker: Path) -> None:
    """End the processes that an integrator on the same folder has left: first politely.

    A git that is asked to end removes its lock files.
    """
    strays = _marked({MARKER: str(marker)})
    if not strays:
        return
    log.warning("ending what an earlier run has left", processes=[item.pid for item in strays])
    for process in strays:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, strays, timeout=_TERMINATE_S)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def _kill_marked(marker: str, run: str) -> None:
    """End what one run has left; again, since it may begin more meanwhile."""
    for _ in range(_ROUNDS_MAX):
        left = _marked({MARKER: marker, _RUN: run})
        if not left:
            return
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=_DRAIN_S)
    log.warning("a command has left processes that do not end", run=run)


def _marked(variables: dict[str, str]) -> list[psutil.Process]:
    """Return the processes with these variables in their environment.

    Whoever has begun our own children waits for them, and would not hear of their end from us.
    """
    return [process for process in psutil.process_iter() if _has(process, variables)]


def _has(process: psutil.Process, variables: dict[str, str]) -> bool:
    try:
        if process.pid == os.getpid() or not variables.items() <= process.environ().items():
            return False
        return process.ppid() != os.getpid()
    except (psutil.Error, OSError):
        return False


class _Tail:
    """The end of what a command prints."""

    def __init__(self) -> None:
        self._kept = bytearray()

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read until nobody can write any more."""
        while chunk := await stream.read(_CHUNK):
            self._kept += chunk
            del self._kept[:-OUTPUT_BYTES_MAX]

    def text(self) -> str:
        """Return it as text of at most 64 KiB, without NULs."""
        text = self._kept.decode(errors="replace").replace("\0", "\ufffd")
        return text.encode()[-OUTPUT_BYTES_MAX:].decode(errors="ignore")


async def _wait(process: asyncio.subprocess.Process, timeout_s: float) -> int:
    try:
        async with asyncio.timeout(timeout_s):
            status = await process.wait()
    except TimeoutError:
        return STOPPED
    return status if status >= 0 else 128 - status


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


async def _drain(reader: "asyncio.Task[None]") -> None:
    """Wait for the last of the output, but not for a process that has left the group."""
    done, _ = await asyncio.wait([reader], timeout=_DRAIN_S)
    if not done:
        reader.cancel()
        await asyncio.wait([reader])
