"""Getting a claim, and keeping it while a command runs."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
import grpc.aio
from coord.environment import SYSTEM
from coord.errors import from_rpc
from coord.guard import HOLDER
from coord.times import MINUTE, SECOND, duration
from coord.v1 import claims_pb2

from coord_cli.command import EXIT_FAILED
from coord_cli.party import Party

_WAIT_NS_MAX = 60 * SECOND
_HOLD_NS = 10 * MINUTE
# While a command runs, its claim is renewed three times in each lease.
_LEASE_NS = 60 * SECOND
_RENEW_S = 20.0
_SIGNALED = 128


@dataclass(frozen=True)
class Wish:
    """What is to be claimed.

    Attributes:
        resources: All of it, or none.
        wait_ns: How long to wait.
        holder: Who is to hold it; None for who asks.
    """

    resources: Sequence[claims_pb2.Resource]
    wait_ns: int
    holder: str | None


def resource_text(resource: claims_pb2.Resource) -> str:
    """Return a resource as people write it."""
    text = resource.path or f"--name {resource.name}"
    return f"{text} (shared)" if resource.shared else text


async def claim_for(party: Party, wish: Wish, lease_ns: int | None) -> claims_pb2.Claim | None:
    """Claim for a length of time; without one for an agent's attempt, or for ten minutes.

    Returns:
        None where it was not to be had, which was told then.
    """
    request = claims_pb2.ClaimRequest(
        claim_id=SYSTEM.new_id("claim-"), resources=wish.resources, lease=duration(_HOLD_NS)
    )
    if lease_ns is not None:
        request.lease.CopyFrom(duration(lease_ns))
    elif party.attempt is not None and wish.holder is None:
        request.attempt.CopyFrom(party.attempt)
    return await _acquire(party, wish.holder or party.name, request, wish.wait_ns)


async def claim_and_run(party: Party, wish: Wish, command: Sequence[str]) -> int:
    """Claim, run a command, and give the claim back; return the exit code."""
    # Two commands of one shell exclude one another; two of one agent's are of one mind.
    own = party.name if party.attempt is not None else f"{party.name}-{os.getpid()}"
    holder = wish.holder or own
    request = claims_pb2.ClaimRequest(
        claim_id=SYSTEM.new_id("claim-"), resources=wish.resources, lease=duration(_LEASE_NS)
    )
    held = await _acquire(party, holder, request, wish.wait_ns)
    if held is None:
        return EXIT_FAILED
    try:
        return await _run_while_held(party, held, command)
    finally:
        await _release(party, held)


async def _acquire(
    party: Party, holder: str, request: claims_pb2.ClaimRequest, wait_ns: int
) -> claims_pb2.Claim | None:
    """Ask until the claim is held or the time is over; then the place in the line is given up."""
    until_ns = SYSTEM.monotonic_ns() + wait_ns
    while True:
        left_ns = max(until_ns - SYSTEM.monotonic_ns(), 0)
        asking = claims_pb2.AcquireClaimsRequest(
            project=party.project,
            holder=holder,
            requests=[request],
            wait=duration(min(left_ns, _WAIT_NS_MAX)),
        )
        result = (await party.coordinator.AcquireClaims(asking)).results[0]
        if result.HasField("claim"):
            claim: claims_pb2.Claim = result.claim
            return claim
        if result.HasField("refusal") or SYSTEM.monotonic_ns() >= until_ns:
            break
    reasons = [result.refusal] if result.HasField("refusal") else result.wait.reasons
    for reason in reasons:
        click.echo(f"coord: {reason.message}", err=True)
    if not result.HasField("refusal") and not wait_ns:
        click.echo("coord: nothing was claimed or run; --wait waits for it", err=True)
    await _release(party, claims_pb2.Claim(claim_id=request.claim_id, holder=holder))
    return None


async def _release(party: Party, claim: claims_pb2.Claim) -> None:
    request = claims_pb2.ReleaseClaimsRequest(
        project=party.project, holder=claim.holder, claim_ids=[claim.claim_id]
    )
    # If nobody answers, its lease ends by itself.
    with contextlib.suppress(grpc.aio.AioRpcError):
        await party.coordinator.ReleaseClaims(request)


async def _run_while_held(party: Party, held: claims_pb2.Claim, command: Sequence[str]) -> int:
    variables = os.environ | {HOLDER: held.holder}
    try:
        process = await asyncio.create_subprocess_exec(*command, env=variables)
    except OSError as error:
        raise click.UsageError(f"{command[0]}: {error.strerror}") from error
    keeping = asyncio.create_task(_keep(party, held, process))
    with _passed_on(process):
        status = await process.wait()
    keeping.cancel()
    return _SIGNALED - status if status < 0 else status


async def _keep(party: Party, held: claims_pb2.Claim, process: asyncio.subprocess.Process) -> None:
    """Renew a claim; end the command where the claim has ended without it."""
    request = claims_pb2.RenewClaimsRequest(
        project=party.project, holder=held.holder, claim_ids=[held.claim_id]
    )
    while True:
        await asyncio.sleep(_RENEW_S)
        try:
            result = (await party.coordinator.RenewClaims(request)).results[0]
        except grpc.aio.AioRpcError as error:
            click.echo(f"coord: the claim could not be renewed: {from_rpc(error)}", err=True)
            continue
        if result.HasField("error"):
            click.echo(f"coord: the claim is lost: {result.error.message}", err=True)
            process.terminate()
            return


@contextlib.contextmanager
def _passed_on(process: asyncio.subprocess.Process) -> Iterator[None]:
    """Leave Ctrl-C to the command, which hears it itself, and pass on SIGTERM."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
