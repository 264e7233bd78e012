"""Each service in a process of its own, started again when it dies."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from coord.environment import SYSTEM
from coord.errors import CoordError, failed_precondition, unavailable
from coord.times import SECOND
from coord_runtime.addresses import split_address
from coord_runtime.locks import FolderLock
from coord_runtime.tokens import load_key

from coord_host.endpoint import Endpoint, publish
from coord_host.host import services_of, settings_for
from coord_host.overrides import Overrides, account_of
from coord_host.places import Place
from coord_host.ports import addresses

_READY_S = 60.0
_WAIT_FIRST_S = 0.1
_WAIT_MAX_S = 5.0
_STABLE_NS = 10 * SECOND
_STOP_S = 60.0

log = structlog.get_logger(__name__)


class ServiceProcess:
    """One service's process, and the next one when it dies.

    Attributes:
        metrics: Address of its metrics.
        process: The process at present.
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.metrics = ""
        self.process: Process | None = None
        self._command = command
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process, wait until it serves, and keep it running.

        Raises:
            CoordError: UNAVAILABLE with reason SERVICE_FAILED.
        """
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let the process drain and end."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def _spawn(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            # Ctrl-C at the terminal is for us to pass on.
            start_new_session=True,
        )
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for.
        async with asyncio.timeout(_READY_S):
            line = await self.process.stdout.readline()
        if not line:
            status = await self.process.wait()
            raise unavailable(
                "SERVICE_FAILED",
                f"the {self.name} ended with status {status} before it served; see its log",
                retry_after_ns=SECOND,
            )
        self.metrics = json.loads(line)["metrics"]

    async def _keep(self) -> None:
        wait_s = _WAIT_FIRST_S
        while True:
            began_ns = SYSTEM.monotonic_ns()
            status = await self.process.wait() if self.process else None
            log.warning("service died", service=self.name, status=status)
            if SYSTEM.monotonic_ns() - began_ns > _STABLE_NS:
                wait_s = _WAIT_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _WAIT_MAX_S)
            with suppress(CoordError, TimeoutError):
                await self._spawn()


@asynccontextmanager
async def start_split(place: Place, overrides: Overrides) -> AsyncIterator[Endpoint]:
    """Run each service in a process of its own until the exit.

    Raises:
        CoordError: FAILED_PRECONDITION with reason ACCOUNT_NOT_SPLIT; what hinders a start.
    """
    if account_of(overrides) is not None:
        raise failed_precondition(
            "ACCOUNT_NOT_SPLIT", "--split does not go with --account yet: leave one of them out"
        )
    lock = FolderLock(place.state / "host")
    load_key(place.state / "token.key")
    where = addresses(place, [service.NAME for service in services_of(place)])
    processes = [ServiceProcess(name, _command(name, place, where, overrides)) for name in where]
    try:
        # The coordinator last: it asks the others as soon as it serves.
        *others, coordinator = processes
        await asyncio.gather(*(process.start() for process in others))
        await coordinator.start()
        metrics = {process.name: process.metrics for process in processes}
        endpoint = Endpoint(os.getpid(), where, metrics, overrides)
        publish(place, endpoint)
        yield endpoint
    finally:
        # The coordinator first: while it drains, it needs the others.
        for process in reversed(processes):
            await process.stop()
        lock.release()


def _next_to(address: str, number: int) -> str:
    """Return the address of the port so many after one, so that each process has its own."""
    host, port = split_address(address)
    return f"{host}:{port + number}" if port else address


def _command(name: str, place: Place, where: dict[str, str], overrides: Overrides) -> list[str]:
    flags = settings_for(place, overrides)
    flags["node"] = flags.get("node", {}) | {"listen": where[name]}
    if flags["node"].get("metrics"):
        flags["node"]["metrics"] = _next_to(flags["node"]["metrics"], list(where).index(name))
    wanted = {section: flags[section] for section in (name, "node") if section in flags}
    return [
        sys.executable,
        "-m",
        f"coord_{name}",
        "--with-parent",
        f"--project={place.project}",
        f"--state={place.state}",
        *(f"--peer={peer}={address}" for peer, address in where.items() if peer != name),
        *(
            f"--set={section}.{key}={value}"
            for section, values in wanted.items()
            for key, value in values.items()
        ),
    ]
