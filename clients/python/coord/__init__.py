"""Coord for Python: workers of your own, the client, the errors and the generated contract."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coord.admission import Client as Client
    from coord.admission import SyncClient as SyncClient
    from coord.errors import CoordError as CoordError
    from coord.task import Task as Task
    from coord.task import TaskFailed as TaskFailed
    from coord.task import TaskReleased as TaskReleased
    from coord.worker import Worker as Worker

_HOMES = {
    "Client": "coord.admission",
    "CoordError": "coord.errors",
    "SyncClient": "coord.admission",
    "Task": "coord.task",
    "TaskFailed": "coord.task",
    "TaskReleased": "coord.task",
    "Worker": "coord.worker",
}


def __getattr__(name: str) -> Any:
    """Import what a worker needs only where it is used: the rest of Coord starts without it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
