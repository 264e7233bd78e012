"""What all commands share: their errors, their options, and the way to the services."""

import asyncio
import errno
import functools
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import click
import grpc
import grpc.aio
from coord.errors import CoordError, from_rpc
from coord.identity import TOKEN
from coord.v1 import (
    coordinator_pb2_grpc,
    integrator_pb2_grpc,
    ledger_pb2_grpc,
    limiter_pb2_grpc,
    queue_pb2_grpc,
)
from coord_host.attach import attach_or_look
from coord_host.endpoint import find
from coord_host.places import Place, locate

from coord_cli.plan_problems import PlanError
from coord_cli.run_log import logs_to

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

_USAGE_CODES = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    }
)
# What is wrong with a disk or a folder, and not with the program.
_FILE_TROUBLE = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EIO,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EPERM,
        errno.EROFS,
    }
)
_DATABASE_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


class UsageProblem(Exception):  # noqa: N818 - it is no error of the program.
    """Something that the user has to change. The message says what."""


class Channels(Protocol):
    """Gives channels to services."""

    def channel(self, service: str) -> grpc.aio.Channel:
        """Return a channel to a service, with the operator's token."""


@dataclass(frozen=True)
class Services:
    """The stubs of a project's services."""

    project: str
    coordinator: "coordinator_pb2_grpc.CoordinatorServiceAsyncStub"
    integrator: "integrator_pb2_grpc.IntegratorServiceAsyncStub"
    ledger: "ledger_pb2_grpc.LedgerServiceAsyncStub"
    limiter: "limiter_pb2_grpc.LimiterServiceAsyncStub"
    queue: "queue_pb2_grpc.QueueServiceAsyncStub"

    @classmethod
    def of(cls, project: str, host: Channels) -> "Services":
        """Return stubs on a host's channels."""
        return cls(
            project,
            coordinator_pb2_grpc.CoordinatorServiceStub(host.channel("coordinator")),
            integrator_pb2_grpc.IntegratorServiceStub(host.channel("integrator")),
            ledger_pb2_grpc.LedgerServiceStub(host.channel("ledger")),
            limiter_pb2_grpc.LimiterServiceStub(host.channel("limiter")),
            queue_pb2_grpc.QueueServiceStub(host.channel("queue")),
        )


def group_with_default(name: str) -> type[click.Group]:
    """Return a class of groups that run one of their commands where none is named."""

    class WithDefault(click.Group):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            first = args[0] if args else "-"
            if first not in {*self.commands, *ctx.help_option_names}:
                if not first.startswith("-"):
                    unknown = click.exceptions.NoSuchCommand(first, None, self.commands, ctx)
                    if unknown.possibilities:
                        raise unknown
                args = [name, *args]
            return super().parse_args(ctx, args)

    return WithDefault


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--repo` and `--state`, as the argument `place`."""

    @click.option(
        "--repo",
        type=click.Path(path_type=Path),
        default=Path(),
        help="The repository.  [default: that of the current folder]",
    )
    @click.option("--state", type=click.Path(path_type=Path), help="Where Coord keeps its state.")
    @functools.wraps(command)
    def wrapped(*args: Any, repo: Path, state: Path | None, **kwargs: Any) -> Any:
        with friendly_errors():
            place = locate(repo, state)
        return command(*args, place=place, **kwargs)

    return wrapped


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class friendly_errors:  # noqa: N801 - used as a context.
    """Tells errors in a line and ends the program with the exit code that goes with them."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        """Tell the error, if it is one that a user can do something about."""
        match error:
            case UsageProblem() | PlanError():
                _exit(str(error), EXIT_USAGE)
            case grpc.aio.AioRpcError():
                self.__exit__(None, from_rpc(error), trace)
            case CoordError(reason="TRANSPORT"):
                _exit(f"the services cannot be reached: {error.message}", EXIT_FAILED)
            case CoordError(reason="NOT_FOR_WORKERS" | "NOT_YOUR_WORKER"):
                _exit(f"{error}{whose_shell()}", EXIT_FAILED)
            case CoordError():
                _exit(str(error), EXIT_USAGE if error.code in _USAGE_CODES else EXIT_FAILED)
            case KeyboardInterrupt():
                sys.exit(EXIT_INTERRUPTED)
            case BrokenPipeError():
                # The reader of our output has seen enough.
                sys.stderr.close()
                sys.exit(EXIT_FAILED)
            case OSError() if error.errno in _FILE_TROUBLE:
                where = error.filename or "a file could not be read or written"
                _exit(f"{where}: {error.strerror}", EXIT_FAILED)
            case sqlite3.OperationalError() if error.sqlite_errorcode & 0xFF in _DATABASE_TROUBLE:
                _exit(f"the state folder cannot be used: {error}", EXIT_FAILED)


def whose_shell() -> str:
    """Return, to end an error's line, why a command did not speak as the operator."""
    if os.environ.get("COORD_TASK_ID") or not os.environ.get(TOKEN):
        return ""
    return f"; {TOKEN} in this shell is a worker's: `unset {TOKEN}` to be the operator again"


def _exit(message: str, status: int) -> None:
    click.echo(f"coord: {message}", err=True)
    sys.exit(status)


def run_async(body: Callable[[], Awaitable[int | None]]) -> NoReturn:
    """Run a command's body and end the program with the exit code that it returns."""
    with friendly_errors():
        status = asyncio.run(_interruptible(body))
    sys.exit(status or 0)


async def _interruptible(body: Callable[[], Awaitable[int | None]]) -> int | None:
    return await body()


@asynccontextmanager
async def looking(place: Place, *, anew: bool = False) -> AsyncIterator[Services]:
    """Attach to a project's services; where none are running, ask its stores, or write to them.

    Args:
        place: The project.
        anew: Whether stores are made where there are none.

    Raises:
        UsageProblem: Nothing was ever run.
    """
    if not anew and find(place) is None and not (place.state / "queue").is_dir():
        where = place.repo or "this project"
        raise UsageProblem(f"nothing has run yet for {where}; start `coord up` or `coord run`")
    with logs_to(place.state / "run.log"):
        async with attach_or_look(place) as host:
            yield Services.of(place.project, host)


@asynccontextmanager
async def following(place: Place) -> AsyncIterator[Services]:
    """Attach to a project's services as `looking` does, to tell what they do until they end.

    Raises:
        CoordError: UNAVAILABLE with reason SERVICES_ENDED.
        UsageProblem: Nothing was ever run.
    """
    async with looking(place) as services:
        try:
            yield services
        except grpc.aio.AioRpcError as failure:
            if from_rpc(failure).reason not in {"DRAINING", "TRANSPORT"}:
                raise
            raise services_ended() from failure


def services_ended() -> CoordError:
    """Return the error for a command that follows services which have ended."""
    message = "the services have ended: nothing more will come"
    return CoordError(grpc.StatusCode.UNAVAILABLE, "SERVICES_ENDED", message)


@asynccontextmanager
async def until_interrupted() -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError):
                loop.remove_signal_handler(number)
