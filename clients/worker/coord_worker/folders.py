"""Where a worker keeps logs and the files of its attempts."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

_NAME_BYTES_MAX = 200


def encode(task_id: str) -> str:
    """Return a file name for a task: readable, safe, different for different tasks."""
    name = quote(task_id, safe="@+:")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) <= _NAME_BYTES_MAX:
        return name
    digest = hashlib.sha256(task_id.encode()).hexdigest()[:16]
    return f"{name[:_NAME_BYTES_MAX]}~{digest}"


def task_logs(folder: Path, task_id: str) -> Path:
    """Return the folder that holds a task's logs, one `<attempt number>.log` for each attempt."""
    return folder / "logs" / encode(task_id)


def log_path(folder: Path, task_id: str, number: int) -> Path:
    """Return the log of one attempt."""
    return task_logs(folder, task_id) / f"{number}.log"


def worker_folder(folder: Path, worker: str) -> Path:
    """Return the folder of a worker's attempts, each in a folder named after its token."""
    return folder / "attempts" / worker


@dataclass(frozen=True)
class AttemptFolder:
    """The files through which the worker and an agent talk."""

    path: Path

    @property
    def prompt(self) -> Path:
        """What the agent is asked."""
        return self.path / "prompt.md"

    @property
    def handoff(self) -> Path:
        """What came of the attempt before."""
        return self.path / "handoff.json"

    @property
    def progress(self) -> Path:
        """Lines that the agent appends; the last one says how far it is."""
        return self.path / "progress"

    @property
    def cost(self) -> Path:
        """JSON lines that the agent appends."""
        return self.path / "cost"

    @property
    def result(self) -> Path:
        """What the agent says about its own failure."""
        return self.path / "result.json"

    @property
    def record(self) -> Path:
        """Which processes the attempt has, for the worker's successor."""
        return self.path / "processes.json"


@dataclass(frozen=True)
class ProcessRecord:
    """Names an agent's processes beyond its worker's death.

    Attributes:
        task_id: The task.
        fencing_token: The attempt.
        pid: The agent's process, which leads its session and process group.
        created: When that process was started, in seconds, as psutil tells it.
        marker: The value of COORD_ATTEMPT_KEY in the environment of all of them.
    """

    task_id: str
    fencing_token: int
    pid: int
    created: float
    marker: str

    def write(self, path: Path) -> None:
        """Write the record; it is on disk afterwards."""
        with path.open("w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read a record; None where there is none, or only the beginning of one.

        Half a record means that its agent was never let go.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
