"""Runs of the check: those on the target before the first agent starts, and what they printed."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

import click
import grpc
import grpc.aio
from coord.times import timestamp_ns
from coord.v1 import common_pb2, integrator_pb2

from coord_cli.command import Services, UsageProblem, until_interrupted

# A check that is quicker, or known to be green, is not worth a word.
_TOLD_AFTER_S = 0.5
_TAIL_LINES = 15
_CHECKING = (
    "coord: checking the target before the first agent starts; a check that hangs is ended after"
    " --set integrator.check_timeout_s=600"
)


async def check_target(services: Services) -> None:
    """Run the check on the target alone, unless it is known to be green there: agents cost money.

    Raises:
        UsageProblem: The target is red: every change would be.
        KeyboardInterrupt: SIGINT or SIGTERM came meanwhile.
    """
    async with until_interrupted() as interrupted:
        asking = asyncio.ensure_future(ask_target(services))
        stop = asyncio.ensure_future(interrupted.wait())
        first = asyncio.FIRST_COMPLETED
        done, _ = await asyncio.wait({asking, stop}, timeout=_TOLD_AFTER_S, return_when=first)
        if not done:
            click.echo(_CHECKING, err=True)
            await asyncio.wait({asking, stop}, return_when=first)
        stop.cancel()
        if not asking.done():
            asking.cancel()
            click.echo("coord: interrupted while the target was checked; nothing began", err=True)
            raise KeyboardInterrupt
    answer = await asking
    if answer.HasField("reason"):
        runs = await target_runs(services)
        raise UsageProblem(_complaint(answer.reason, runs[-1] if runs else None))


async def ask_target(
    services: Services, *, known_only: bool = False
) -> integrator_pb2.CheckTargetResponse:
    """Ask whether the target is green, as far as is known or by a run of the check."""
    request = integrator_pb2.CheckTargetRequest(project=services.project, known_only=known_only)
    try:
        return await services.integrator.CheckTarget(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        # Older services run no check before the first change.
        return integrator_pb2.CheckTargetResponse(green=True)


def _complaint(reason: common_pb2.Reason, run: integrator_pb2.CheckRun | None) -> str:
    branch, commit = reason.metadata["branch"], reason.metadata["commit"]
    what = (
        f"your branch {branch} fails its own check before any task ran: {reason.message}"
        f" (commit {commit[:10]}); nothing was started"
    )
    step = (
        f"what to do: make the check pass on {branch} and commit that, or name another --check;"
        " `coord logs --check` prints all of it"
    )
    shown = [] if run is None else [f"  $ {run.command}", *_quoted(run.output)]
    return "\n".join([what, *shown, step])


def _quoted(output: str) -> list[str]:
    """Return the last lines of what a check printed, saying so where that is not all."""
    lines = [f"  | {line}" for line in output.rstrip().splitlines()]
    return lines if len(lines) <= _TAIL_LINES else ["  | [...]", *lines[-_TAIL_LINES:]]


async def target_runs(services: Services) -> list[integrator_pb2.CheckRun]:
    """Return the runs of the newest judgement of the target alone, oldest first."""
    request = integrator_pb2.ListTargetRunsRequest(project=services.project)
    try:
        runs = (await services.integrator.ListTargetRuns(request)).runs
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return []
    return last_judgement(runs[::-1])


def last_judgement(runs: Sequence[integrator_pb2.CheckRun]) -> list[integrator_pb2.CheckRun]:
    """Return those runs, of a change or of the target, that have decided last.

    Others may be those of an earlier check, or on what the target was before.
    """
    return [run for run in runs if _occasion(run) == _occasion(runs[-1])]


def _occasion(run: integrator_pb2.CheckRun) -> object:
    # A change may need several trials on one base.
    return run.judged_at.ToNanoseconds() if run.of_target else (run.command, run.base_commit)


def run_lines(run: integrator_pb2.CheckRun) -> Iterator[str]:
    """Yield how a run went, and what it printed."""
    verdict = "green" if run.passed else f"red, exit status {run.exit_status}"
    what = "the target alone" if run.of_target else "the merged tree"
    begun = datetime.fromtimestamp(timestamp_ns(run.started_at) // 10**9).astimezone()
    yield f"--- {verdict}, on {what} ({run.tree[:10]}), at {begun:%Y-%m-%d %H:%M:%S}"
    if run.command:
        yield f"--- $ {run.command}"
    yield run.output.removesuffix("\n")
