"""Who speaks to the coordinator: the operator, or an agent with its worker's token."""

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from coord.client import connect
from coord.guard import who
from coord.identity import ADDRESS, PROJECT, TOKEN, WORKER
from coord.v1 import common_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_host.endpoint import find
from coord_host.places import Place, locate

from coord_cli.command import friendly_errors, looking

_SHELL_OF_A_WORKER = (ADDRESS, TOKEN, PROJECT, WORKER)


@dataclass(frozen=True)
class Party:
    """Somebody who speaks to the coordinator.

    Attributes:
        project: The project.
        coordinator: The coordinator's stub.
        name: The holder of what it claims: the worker's name, or one that the shell goes by.
        attempt: The attempt that an agent works on; None for the operator.
        served: Whether services run, rather than their stores being asked.
        worker: The worker that it speaks as; empty for the operator.
    """

    project: str
    coordinator: Any
    name: str
    attempt: common_pb2.AttemptRef | None = None
    served: bool = True
    worker: str = ""


Opening = Callable[[], AbstractAsyncContextManager[Party]]


def party_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--repo` and `--state`, as the argument `open_party`.

    In the shell of an agent neither is needed: it speaks as its worker.
    """

    @click.option("--repo", type=click.Path(path_type=Path), help="The repository.")
    @click.option("--state", type=click.Path(path_type=Path), help="Where Coord keeps its state.")
    @functools.wraps(command)
    def wrapped(*args: Any, repo: Path | None, state: Path | None, **kwargs: Any) -> Any:
        if not (repo or state) and all(os.environ.get(name) for name in _SHELL_OF_A_WORKER):
            return command(*args, open_party=_worker, **kwargs)
        with friendly_errors():
            place = locate(repo or Path(), state)
        return command(*args, open_party=functools.partial(_operator, place), **kwargs)

    return wrapped


@asynccontextmanager
async def _worker() -> AsyncIterator[Party]:
    address, token, project, worker = (os.environ[name] for name in _SHELL_OF_A_WORKER)
    _, fencing_token = who(os.environ)
    task_id = os.environ.get("COORD_TASK_ID", "")
    attempt = common_pb2.AttemptRef(task_id=task_id, fencing_token=fencing_token)
    async with connect(address, token) as channel:
        yield Party(
            project,
            CoordinatorServiceStub(channel),
            worker,
            attempt if fencing_token else None,
            worker=worker,
        )


@asynccontextmanager
async def _operator(place: Place) -> AsyncIterator[Party]:
    served = find(place) is not None
    async with looking(place) as services:
        yield Party(place.project, services.coordinator, who(os.environ)[0], served=served)
