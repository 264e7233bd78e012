"""An agent's processes: begun in a session of their own, and ended all together.

What an agent starts may leave its process group, so that each of its processes is also known by a
marker in its environment. What has dropped that, too, is found among the worker's orphans.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from coord_worker.folders import ProcessRecord
from coord_worker.orphans import Orphans

MARKER = "COORD_ATTEMPT_KEY"

# The agent begins only when its record is on disk. If the worker dies before, the gate reads the
# end of the pipe and nothing was begun.
_GATE = 'IFS= read -r _ || exit 125; exec "$@" <"$COORD_PROMPT_FILE"'
_POLL_S = 0.02
# After this long, a process that SIGKILL did not end sits in the kernel; waiting on helps nobody.
_KILL_WAIT_S = 10.0

_log = structlog.get_logger()


@dataclass(frozen=True)
class Command:
    """What to run: `COORD_PROMPT_FILE` of the environment becomes its standard input."""

    argv: Sequence[str]
    folder: Path
    environment: dict[str, str]


@dataclass(frozen=True)
class AgentProcess:
    """A running agent, with the read ends of what it prints."""

    process: asyncio.subprocess.Process
    record: ProcessRecord
    stdout: int
    stderr: int


async def start(command: Command, keep: Callable[[int, float], ProcessRecord]) -> AgentProcess:
    """Start an agent in a new session.

    Args:
        command: What to run.
        keep: Called with the agent's pid and start time before it begins; puts them on disk.

    Raises:
        OSError: The folder is not there, or the process cannot be made.
    """
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as child_ends:
        gate_read, gate = _pipe(child_ends, on_error)
        stdout, stdout_write = _pipe(on_error, child_ends)
        stderr, stderr_write = _pipe(on_error, child_ends)
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _GATE,
            "coord-agent",
            *command.argv,
            stdin=gate_read,
            stdout=stdout_write,
            stderr=stderr_write,
            cwd=command.folder,
            env=command.environment,
            start_new_session=True,
        )
        record = keep(process.pid, psutil.Process(process.pid).create_time())
        os.write(gate, b"\n")
        on_error.pop_all()
        os.close(gate)
    return AgentProcess(process, record, stdout, stderr)


def _pipe(of_read: contextlib.ExitStack, of_write: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    of_read.callback(os.close, read)
    of_write.callback(os.close, write)
    return read, write


def members(record: ProcessRecord, *, own: bool) -> list[psutil.Process]:
    """Return the living processes of an agent.

    Args:
        record: Which agent.
        own: Whether this process has started it: its group is then trusted by number. Otherwise
            only while its leader is the recorded process, since numbers are used again.
    """
    trusted = own or _created(record.pid) == record.created
    return [process for process in psutil.process_iter() if _belongs(process, record, trusted)]


def _belongs(process: psutil.Process, record: ProcessRecord, trusted: bool) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if trusted and record.pid in {os.getpgid(process.pid), os.getsid(process.pid)}:
            return True
        return process.environ().get(MARKER) == record.marker
    except (psutil.Error, OSError):
        # It is gone, or another user's.
        return False


def _created(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


async def end(
    record: ProcessRecord, grace_s: float, *, own: bool = True, orphans: Orphans | None = None
) -> None:
    """End an agent and everything that it has started.

    Args:
        record: Which agent.
        grace_s: How long its processes have between SIGTERM and SIGKILL.
        own: See `members`.
        orphans: Finds what it has started and cannot be known otherwise.
    """
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + grace_s
    asked: set[psutil.Process] = set()
    while living := _all_of(record, own=own, orphans=orphans):
        late = loop.time() >= kill_at
        if loop.time() >= kill_at + _KILL_WAIT_S:
            _log.error("processes outlive SIGKILL", pids=[process.pid for process in living])
            return
        for process in living if late else set(living) - asked:
            _send(process, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(living)
        await _until_gone(living, loop.time() + 0.1 if late else kill_at)


def _all_of(record: ProcessRecord, *, own: bool, orphans: Orphans | None) -> list[psutil.Process]:
    known = members(record, own=own)
    adopted = orphans.living(record.pid) if orphans is not None else []
    return known + [process for process in adopted if process not in known]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


async def _until_gone(processes: list[psutil.Process], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < deadline and any(map(_lives, processes)):  # noqa: ASYNC110 - the system tells nobody of a grandchild's end.
        await asyncio.sleep(_POLL_S)  # Other processes send no events.


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
