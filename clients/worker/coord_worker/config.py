"""What a worker process is told when it starts: its environment and its configuration file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

CONFIG, PARENT = "COORD_WORKER_CONFIG", "COORD_WORKER_PARENT"

OUTPUT_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker does with a task. Written as JSON by whoever starts the worker.

    Attributes:
        folder: Where logs and the files of attempts go.
        agent: A preset's name, or a command for the shell.
        agent_args: Further arguments of a preset's command.
        provider: Whose rate limits the agent is under; empty for what its preset knows.
        profile: The name of its profile, for people.
        capabilities: What it can do.
        preferences: Categories that it does best, with weights of 0 to 1.
        buckets: Rate limits of which each task takes one request.
        runs: The runs whose tasks it takes; empty for all tasks.
        guard: Folder of the guard's hooks; None to go without.
        state: The project's state folder, for the commands of agents; None for the usual one.
        slots: How many attempts it takes at a time.
        stop_grace_s: How long an agent has between SIGTERM and SIGKILL.
        output_bytes_max: The most that is kept of what one attempt prints.
    """

    folder: Path
    agent: str
    agent_args: tuple[str, ...] = ()
    provider: str = ""
    profile: str = ""
    capabilities: tuple[str, ...] = ()
    preferences: Mapping[str, float] = field(default_factory=dict)
    buckets: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    guard: Path | None = None
    state: Path | None = None
    slots: int = 1
    stop_grace_s: float = 5.0
    output_bytes_max: int = OUTPUT_BYTES_MAX

    def write(self, path: Path) -> None:
        """Write the configuration for `load`."""
        path.write_text(json.dumps(asdict(self), indent=1, default=str))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a configuration. ValueError where the file is not one."""
        fields: dict[str, Any] = json.loads(path.read_text())
        for name in ("agent_args", "capabilities", "buckets", "runs"):
            fields[name] = tuple(fields.get(name, ()))
        for name in ("guard", "state"):
            if path_there := fields.get(name):
                fields[name] = Path(path_there)
        try:
            return cls(**fields | {"folder": Path(fields["folder"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a worker's configuration: {error}") from error


def proof_of_work(folder: Path, worker: str) -> Path:
    """Return the file that is there once a worker's process has brought an attempt to its end."""
    return folder / "workers" / f"{worker}.proof"


def clean_environment() -> dict[str, str]:
    """Return the process's environment without what would mislead a child.

    That is the caller's git settings, such as `GIT_DIR`, and every `COORD_*`, such as the
    operator's token.
    """
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "COORD_"))
    }
