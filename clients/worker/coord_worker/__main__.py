"""The worker program: `python -m coord_worker`, told by its environment who it is; see `config`."""

import asyncio
import contextlib
import io
import os
import signal
import sys
from pathlib import Path

import structlog
from coord.client import connect
from coord.errors import CoordError
from coord.identity import Identity
from coord.log_file import log_file

from coord_worker.config import CONFIG, PARENT, WorkerConfig
from coord_worker.orphans import Orphans
from coord_worker.worker import Worker

EXIT_BROKEN = 1
EXIT_USAGE = 2
# The coordinator refuses this worker: starting it again would not help.
EXIT_REFUSED = 3
# How long the coordinator has to acknowledge what is given back. It may be gone, too.
_GOODBYE_S = 2.0


def main() -> int:
    """Run a worker; return its exit status."""
    _configure_logs()
    try:
        identity = Identity.from_environment(os.environ)
        config = WorkerConfig.load(Path(os.environ[CONFIG]))
    except KeyError:
        return _complain(f"set {CONFIG}; `coord worker` does", EXIT_USAGE)
    except (OSError, ValueError) as error:
        return _complain(str(error), EXIT_USAGE)
    try:
        asyncio.run(_run(identity, config))
    except CoordError as error:
        # A new process begins a new session, which mends a misunderstanding about numbers.
        status = EXIT_BROKEN if error.reason == "PROTOCOL" else EXIT_REFUSED
        return _complain(f"the coordinator refuses {identity.worker}: {error}", status)
    return 0


def _configure_logs() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(log_file(io.FileIO(2, "wb", closefd=False))),
    )


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"coord_worker: {message}\n")
    return status


async def _run(identity: Identity, config: WorkerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _watch_parent(stop)
    orphans = Orphans()
    orphans.adopt()
    async with connect(identity.address, identity.token) as channel:
        worker = Worker(identity, config, channel, orphans=orphans)
        working, stopping = asyncio.create_task(worker.run()), asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            worker.stop()
            await worker.agents_gone()
            await asyncio.wait({working}, timeout=_GOODBYE_S)
        stopping.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


def _watch_parent(stop: asyncio.Event) -> None:
    """Stop when the parent is gone: the kernel then closes its end of our standard input."""
    if not os.environ.get(PARENT):
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), read)


if __name__ == "__main__":
    sys.exit(main())
