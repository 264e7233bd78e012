"""What can go wrong with a machine: programs die or stand still, clocks jump, disks fill up."""

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil

_INJECTED = Path(__file__).parent / "injected"
_HOUR_NS = 3600 * 10**9
_JUMPS_NS = (-24 * _HOUR_NS, -_HOUR_NS, -(10**9), _HOUR_NS)
# Longer than the grace of a worker and than a lease, or not.
_STOPS_S = (1.0, 8.0, 25.0, 60.0, 150.0)
_FULL_S = (1.0, 8.0)
_DISK = "96m"


class Faults:
    """Does damage that ends after a while.

    Args:
        folder: Where the programs of the history look for their faults.
        chance: Decides how bad it gets.

    Attributes:
        environment: What programs have to be started with.
    """

    def __init__(self, folder: Path, chance: Random) -> None:
        folder.mkdir()
        (folder / "clock").write_bytes(bytes(8))
        self.environment = {"FAULTS_FOLDER": str(folder), "PYTHONPATH": str(_INJECTED)}
        self._folder = folder
        self._chance = chance
        self._ends: list[tuple[float, Callable[[], None]]] = []

    @property
    def died(self) -> list[str]:
        """What programs were about to do when they died of having been armed."""
        path = self._folder / "died"
        return path.read_text().splitlines() if path.exists() else []

    def kill(self, process: psutil.Process) -> str:
        """End a program at once; nothing is told where it has gone already."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return ""
            process.kill()
        except psutil.NoSuchProcess:
            return ""
        return f"kill {process.pid}"

    def stop(self, process: psutil.Process) -> str:
        """Let a program stand still for a while; nothing is told where it has gone already."""
        seconds = self._chance.choice(_STOPS_S)

        def go_on() -> None:
            with suppress(psutil.NoSuchProcess):
                process.resume()

        try:
            process.suspend()
        except psutil.NoSuchProcess:
            return ""
        self._after(seconds, go_on)
        return f"stop {process.pid} for {seconds} s"

    def move_clock(self) -> str:
        """Set the wall clock, mostly back."""
        jump_ns = self._chance.choice(_JUMPS_NS)
        with (self._folder / "clock").open("r+b") as file:
            file.write(jump_ns.to_bytes(8, "little", signed=True))
        return f"clock off by {jump_ns} ns"

    def arm(self) -> str:
        """Let the next program that does something on disk die of it."""
        (self._folder / "armed").mkdir(exist_ok=True)
        return "armed"

    def fill(self, folder: Path) -> str:
        """Fill the disk of a folder for a while."""
        seconds = self._chance.uniform(*_FULL_S)
        filler = folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        self._after(seconds, lambda: filler.unlink(missing_ok=True))
        return f"disk full for {seconds:.1f} s"

    def pass_by(self) -> None:
        """End what has gone on for long enough."""
        for end in [one for one in self._ends if one[0] <= time.monotonic()]:
            self._ends.remove(end)
            end[1]()

    def outlast(self) -> None:
        """Wait until nothing that was done goes on."""
        while self._ends:
            self.pass_by()
            time.sleep(0.05)

    def end(self) -> None:
        """End everything that goes on; the clock stays where it is."""
        with suppress(FileNotFoundError):
            (self._folder / "armed").rmdir()
        for _, undo in self._ends:
            undo()
        self._ends.clear()

    def _after(self, seconds: float, undo: Callable[[], None]) -> None:
        self._ends.append((time.monotonic() + seconds, undo))


def put_on_own_disk(folder: Path) -> None:
    """Mount a small disk; only this process and those that it starts may see it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)]
    subprocess.run(command, check=True)
