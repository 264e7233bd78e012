"""`coord rate`: rate limits, and calls to models, for shells."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from coord.environment import SYSTEM
from coord.times import SECOND, duration, duration_ns, timestamp_ns
from coord.v1 import admission_pb2, common_pb2, limiter_pb2
from coord_host.places import Place

from coord_cli.amounts import format_exact, format_money
from coord_cli.command import (
    EXIT_FAILED,
    UsageProblem,
    json_option,
    looking,
    place_options,
    run_async,
)
from coord_cli.output import as_dict, print_json, print_table
from coord_cli.parameters import LENGTH, RATE, WEIGHT
from coord_cli.party import Opening, Party, party_options

_TURN_NS = 30 * SECOND
_PAGE = 1_000
_DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")
_LANES = {
    "urgent": limiter_pb2.LANE_URGENT,
    "normal": limiter_pb2.LANE_NORMAL,
    "background": limiter_pb2.LANE_BACKGROUND,
}


@click.group()
def rate() -> None:
    """Show and set rate limits; ask whether a call to a model may be made."""


@rate.command()
@click.argument("model")
@party_options
@click.option("--input", "input_tokens", type=click.IntRange(0), default=0, help="Input tokens.")
@click.option(
    "--output", "output_tokens", type=click.IntRange(0), required=True, help="Most output tokens."
)
@click.option(
    "--at-least", type=click.IntRange(0), default=0, help="Fewest, where the money is short."
)
@click.option("--bucket", "buckets", multiple=True, help="A rate limit that it counts for.")
@click.option("--lane", type=click.Choice(list(_LANES)), default="normal", help="How urgent it is.")
@click.option(
    "--wait", type=LENGTH, default="10m", metavar="LENGTH", help="How long to wait.  [default: 10m]"
)
@json_option
def acquire(
    *,
    model: str,
    open_party: Opening,
    input_tokens: int,
    output_tokens: int,
    at_least: int,
    buckets: Sequence[str],
    lane: str,
    wait: int,
    as_json: bool,
) -> None:
    """Wait until a call to MODEL may be made, and reserve what it may cost; print its id.

    `coord rate settle` tells afterwards what it has used. Without that it counts at its estimate.

    Exit codes: 0 it may be made, 1 not now, or not so, 2 wrong usage.
    """
    request = admission_pb2.CallRequest(
        call_id=SYSTEM.new_id("call-"),
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=output_tokens,
        min_output_tokens=at_least,
        buckets=buckets,
        lane=_LANES[lane],
    )

    async def body() -> int:
        async with open_party() as party:
            _check_served(party)
            response = await _admit(party, request, wait)
        if as_json:
            print_json(as_dict(response))
        elif response.HasField("admission"):
            click.echo(request.call_id)
            admission = response.admission
            reserved = format_money(admission.reserved.nanos)
            message = f"{admission.max_output_tokens} output tokens, {reserved} reserved"
            click.echo(f"coord: {message}", err=True)
        else:
            click.echo(f"coord: {_why_not(response)}", err=True)
        return 0 if response.HasField("admission") else EXIT_FAILED

    run_async(body)


@rate.command()
@click.argument("call_id", metavar="CALL")
@click.argument("model")
@party_options
@click.option("--input", "input_tokens", type=click.IntRange(0), help="Input tokens, not cached.")
@click.option("--output", "output_tokens", type=click.IntRange(0), help="Output tokens.")
@click.option("--cached", type=click.IntRange(0), default=0, help="Input tokens read from a cache.")
@click.option("--status", type=int, default=0, help="HTTP status of the answer, such as 429.")
@click.option(
    "--headers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the answer's headers, as `curl -D` writes them.",
)
@json_option
def settle(
    *,
    call_id: str,
    model: str,
    open_party: Opening,
    input_tokens: int | None,
    output_tokens: int | None,
    cached: int,
    status: int,
    headers: Path | None,
    as_json: bool,
) -> None:
    """Tell what CALL has used of MODEL; without tokens, that it was not made, or was refused."""
    settlement = admission_pb2.CallSettlement(
        call_id=call_id,
        model=model,
        status_code=status,
        headers=dict(_headers(headers)) if headers else None,
    )
    if input_tokens is not None or output_tokens is not None:
        usage = common_pb2.Usage(
            model=model,
            input_tokens=input_tokens or 0,
            output_tokens=output_tokens or 0,
            cache_read_tokens=cached,
            requests=1,
        )
        settlement.usage.CopyFrom(usage)

    async def body() -> int:
        async with open_party() as party:
            _check_served(party)
            if party.attempt is not None:
                settlement.attempt.CopyFrom(party.attempt)
            request = admission_pb2.SettleCallsRequest(
                project=party.project, worker=party.worker, settlements=[settlement]
            )
            result = (await party.coordinator.SettleCalls(request)).results[0]
        if as_json:
            print_json(as_dict(result))
        elif result.HasField("error"):
            click.echo(f"coord: {result.error.message}", err=True)
        elif result.HasField("actual"):
            click.echo(format_money(result.actual.nanos))
        return EXIT_FAILED if result.HasField("error") else 0

    run_async(body)


@rate.command()
@place_options
@json_option
def show(*, place: Place, as_json: bool) -> None:
    """Show the rate limits, and what is left of them now."""

    async def body() -> None:
        async with looking(place) as services:
            request = limiter_pb2.ListBucketsRequest(project=place.project, page_size=_PAGE)
            buckets = (await services.limiter.ListBuckets(request)).buckets
        if as_json:
            print_json([as_dict(bucket) for bucket in buckets])
            return
        columns = ("bucket", "limits", "a minute", "at once", "left", "waiting", "")
        print_table(columns, (row for bucket in buckets for row in _rows(bucket)))

    run_async(body)


@rate.command("set")
@click.argument("bucket")
@place_options
@click.option("--requests", type=RATE, metavar="RATE[:BURST]", help="Requests a minute.")
@click.option("--tokens", type=RATE, metavar="RATE[:BURST]", help="Tokens of both directions.")
@click.option("--input-tokens", type=RATE, metavar="RATE[:BURST]", help="Input tokens a minute.")
@click.option("--output-tokens", type=RATE, metavar="RATE[:BURST]", help="Output tokens a minute.")
@click.option("--declared-output", is_flag=True, help="Output counts as declared, not as produced.")
@click.option(
    "--weight", "weights", type=WEIGHT, multiple=True, metavar="WORKER=NUMBER", help="Its share."
)
@json_option
def set_(
    *,
    bucket: str,
    place: Place,
    declared_output: bool,
    weights: Sequence[tuple[str, float]],
    as_json: bool,
    **rates: tuple[int, int] | None,
) -> None:
    """Set the limits of BUCKET; what is not named is not limited any more.

    RATE is a minute's worth; BURST, which is the most at once, is the same if it is left out. A
    bucket `model/NAME` limits all calls to that model, `worker/NAME` all of that worker.
    """
    limits = {
        key: limiter_pb2.RateLimit(per_minute=value[0], burst=value[1])
        for key, value in rates.items()
        if value is not None
    }
    if not limits:
        raise click.UsageError("name a limit, such as --requests 50")
    counting = (
        limiter_pb2.OUTPUT_COUNTING_DECLARED
        if declared_output
        else limiter_pb2.OUTPUT_COUNTING_PRODUCED
    )
    request = limiter_pb2.ConfigureBucketRequest(
        project=place.project,
        name=bucket,
        limits=limiter_pb2.BucketLimits(**limits),
        output_counting=counting,
        weights=dict(weights),
    )

    async def body() -> None:
        async with looking(place, anew=True) as services:
            answer = await services.limiter.ConfigureBucket(request)
        if as_json:
            print_json(as_dict(answer.bucket))
        else:
            click.echo(f"{bucket}: {'; '.join(_limit_texts(answer.bucket))}")

    run_async(body)


@rate.command()
@click.argument("bucket")
@place_options
@json_option
def remove(*, bucket: str, place: Place, as_json: bool) -> None:
    """Take BUCKET away; what counts for it is not limited by it any more."""
    request = limiter_pb2.RemoveBucketRequest(project=place.project, name=bucket)

    async def body() -> None:
        async with looking(place) as services:
            answer = await services.limiter.RemoveBucket(request)
        if as_json:
            print_json(as_dict(answer))
        else:
            click.echo(f"{bucket}: removed")

    run_async(body)


async def _admit(
    party: Party, request: admission_pb2.CallRequest, wait_ns: int
) -> admission_pb2.AdmitResponse:
    if party.attempt is not None:
        request.attempt.CopyFrom(party.attempt)
    until_ns = SYSTEM.monotonic_ns() + wait_ns
    while True:
        left_ns = max(0, until_ns - SYSTEM.monotonic_ns())
        asking = admission_pb2.AdmitRequest(
            project=party.project,
            worker=party.worker,
            request=request,
            wait=duration(min(left_ns, _TURN_NS)),
        )
        response: admission_pb2.AdmitResponse = await party.coordinator.Admit(asking)
        if not response.HasField("wait") or left_ns <= _TURN_NS:
            return response


def _check_served(party: Party) -> None:
    if not party.served:
        raise UsageProblem("no services are running; start `coord up` or `coord run`")


def _why_not(response: admission_pb2.AdmitResponse) -> str:
    if response.HasField("refusal"):
        fits = response.refusal.metadata.get("available_output_tokens")
        rest = f"; {fits} output tokens would fit" if fits else ""
        return response.refusal.message + rest
    wait = response.wait
    length = format_exact(duration_ns(wait.retry_after))
    return f"place {wait.place} in line, {length} to wait: {wait.reason.message}"


def _headers(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _limit_texts(bucket: limiter_pb2.Bucket) -> Iterator[str]:
    for key in _DIMENSIONS:
        if bucket.limits.HasField(key):
            limit, name = getattr(bucket.limits, key), key.replace("_", " ")
            yield f"{limit.per_minute} {name} a minute, {limit.burst} at once"


def _rows(bucket: limiter_pb2.Bucket) -> Iterator[tuple[str, ...]]:
    paused = ""
    if bucket.HasField("paused_until"):
        left_ns = timestamp_ns(bucket.paused_until) - SYSTEM.now_ns()
        paused = f"paused by its provider, {format_exact(left_ns)} more"
    limited: list[tuple[str, Any]] = [
        (key, getattr(bucket.limits, key)) for key in _DIMENSIONS if bucket.limits.HasField(key)
    ]
    if not limited:
        yield bucket.name, "", "", "", "", str(bucket.waiting), paused
    for key, limit in limited:
        left = str(getattr(bucket.available, key))
        name, amounts = key.replace("_", " "), (str(limit.per_minute), str(limit.burst), left)
        yield bucket.name, name, *amounts, str(bucket.waiting), paused
