"""A pool of worker processes: started, started again when they die, and ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import structlog
from coord.environment import SYSTEM, Environment
from coord.identity import ADDRESS, PROJECT, TOKEN, WORKER
from coord.room import full_disk
from coord.times import from_seconds

from coord_worker.config import (
    CONFIG,
    PARENT,
    WorkerConfig,
    clean_environment,
    proof_of_work,
)
from coord_worker.leftovers import end_leftovers

_EXIT_BROKEN, _EXIT_USAGE, _EXIT_REFUSED = 1, 2, 3
_LOG_BYTES_MAX = 8 * 2**20
_ERROR_BYTES = 2_000

_log = structlog.get_logger()


class WorkerState(Enum):
    """Where a worker's process stands."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    LEFT = "left"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Restarts:
    """How often a dead worker is started again.

    Attributes:
        backoff_initial_s: Wait before the first restart; doubled for each further one.
        backoff_max_s: Longest wait.
        healthy_after_s: A worker that lived so long, or has brought a task's attempt to its end,
            begins anew with the shortest wait.
        crashes_max: After so many crashes in a row the worker is given up.
    """

    backoff_initial_s: float = 0.5
    backoff_max_s: float = 30.0
    healthy_after_s: float = 60.0
    crashes_max: int = 5


@dataclass(frozen=True)
class PoolSettings:
    """What the workers of a pool share.

    Attributes:
        address: Where the coordinator listens.
        project: The project.
        mint: Returns the token of a worker by its name.
        restarts: How often a dead worker is started again.
    """

    address: str
    project: str
    mint: Callable[[str], str]
    restarts: Restarts = Restarts()


class WorkerPool:
    """Keeps workers running.

    Args:
        workers: The workers' names and configurations. All have one folder.
        settings: What they share.
        environment: Time and chance for the restarts.
        claim: Keeps the workers' names; closed when no worker is left.
    """

    def __init__(
        self,
        workers: dict[str, WorkerConfig],
        settings: PoolSettings,
        environment: Environment = SYSTEM,
        claim: contextlib.ExitStack | None = None,
    ) -> None:
        self._claim = claim or contextlib.ExitStack()
        self._keepers = {
            name: _Keeper(name, config, settings, environment) for name, config in workers.items()
        }
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def states(self) -> dict[str, WorkerState]:
        """Where each worker stands."""
        return {name: keeper.state for name, keeper in self._keepers.items()}

    @property
    def errors(self) -> dict[str, str]:
        """Why workers were given up, by name."""
        keepers = self._keepers.items()
        return {name: keeper.error for name, keeper in keepers if keeper.error}

    def start(self) -> None:
        """Start all workers."""
        keepers = self._keepers.values()
        self._tasks = [asyncio.create_task(keeper.run()) for keeper in keepers]

    async def wait(self) -> None:
        """Wait until every worker has left or was given up."""
        await asyncio.gather(*self._tasks)

    async def stop(self, grace_s: float) -> None:
        """Tell all workers to give back what they have and to go; end what does not in time.

        No process of a worker or of an agent is left afterwards.
        """
        for keeper in self._keepers.values():
            keeper.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(keeper.end_agents() for keeper in self._keepers.values()))
        self._claim.close()


class _Keeper:
    """Keeps one worker running."""

    def __init__(
        self,
        name: str,
        config: WorkerConfig,
        settings: PoolSettings,
        environment: Environment,
    ) -> None:
        self._name, self._config = name, config
        self._settings, self._environment = settings, environment
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._crashes = 0
        self.state = WorkerState.STARTING
        self.error = ""

    async def run(self) -> None:
        """Run the worker until it leaves, is given up, or is to stop."""
        while not self._stopping.is_set():
            born_ns = self._environment.monotonic_ns()
            status = await self._live_if_possible()
            if status == 0:
                self.state = WorkerState.LEFT
                return
            age_ns = self._environment.monotonic_ns() - born_ns
            healthy = age_ns > from_seconds(self._settings.restarts.healthy_after_s)
            if healthy or proof_of_work(self._config.folder, self._name).exists():
                self._crashes = 0
            self._crashes += 1
            _log.warning("worker died", worker=self._name, status=status, crashes=self._crashes)
            if self._is_hopeless(status):
                await self._give_up(status)
                return
            await self._back_off()
        self.state = WorkerState.LEFT

    def stop(self) -> None:
        """Tell the worker to go."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def end_agents(self) -> None:
        """End what is left of the worker's agents."""
        await end_leftovers(self._config.folder, self._name, self._config.stop_grace_s)

    def _is_hopeless(self, status: int) -> bool:
        restarts = self._settings.restarts
        if status in {_EXIT_USAGE, _EXIT_REFUSED}:
            return True
        # On a full disk none can live, and there may be room again.
        return self._crashes >= restarts.crashes_max and not full_disk(self._config.folder)

    async def _give_up(self, status: int) -> None:
        self.error = self._why(status)
        self.state = WorkerState.GIVEN_UP
        _log.error("worker given up", worker=self._name, error=self.error)
        await self.end_agents()

    def _why(self, status: int) -> str:
        if status in {_EXIT_USAGE, _EXIT_REFUSED} and (said := _last_line(self._log_path)):
            return said
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return (
            f"its process ended {how}, {self._crashes} times before any task was done;"
            f" its log is {self._log_path}"
        )

    async def _back_off(self) -> None:
        self.state = WorkerState.RESTARTING
        restarts = self._settings.restarts
        nominal = restarts.backoff_initial_s * 2 ** (self._crashes - 1)
        delay = min(nominal, restarts.backoff_max_s) * self._environment.random.uniform(0.5, 1.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    async def _live_if_possible(self) -> int:
        try:
            return await self._live()
        except OSError as error:
            _log.warning("worker cannot be started", worker=self._name, error=str(error))
            return _EXIT_BROKEN

    async def _live(self) -> int:
        """Run one process of the worker to its end; return its exit status."""
        self._write_config()
        proof_of_work(self._config.folder, self._name).unlink(missing_ok=True)
        with self._open_log() as log:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "coord_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._variables(),
                # Ctrl-C at the terminal is for whoever started the pool.
                start_new_session=True,
            )
        self.state = WorkerState.RUNNING
        try:
            if self._stopping.is_set():
                self.stop()
            return await process.wait()
        finally:
            await self._kill(process)

    @staticmethod
    async def _kill(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.stdin is not None:
            process.stdin.close()

    @property
    def _log_path(self) -> Path:
        return self._config.folder / "workers" / f"{self._name}.log"

    @property
    def _config_path(self) -> Path:
        return self._config.folder / "workers" / f"{self._name}.json"

    def _write_config(self) -> None:
        self._config_path.parent.mkdir(parents=True, exist_ok=True)
        self._config.write(self._config_path)

    def _open_log(self) -> BinaryIO:
        path = self._log_path
        if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _variables(self) -> dict[str, str]:
        given = {
            ADDRESS: self._settings.address,
            TOKEN: self._settings.mint(self._name),
            PROJECT: self._settings.project,
            WORKER: self._name,
            CONFIG: str(self._config_path),
            PARENT: "stdin",
        }
        return clean_environment() | given


def worker_names(profiles: Sequence[str], prefix: str = "") -> list[str]:
    """Return a stable name for each worker of a pool: `w1`, `w2` or `<profile>-1`, ..."""
    names: list[str] = []
    for profile in profiles:
        stem = f"{prefix}{profile}-" if profile else f"{prefix}w"
        number = 1 + sum(name.startswith(stem) for name in names)
        names.append(f"{stem}{number}")
    return names


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _ERROR_BYTES, 0))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
