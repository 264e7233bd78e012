"""`coord claim` and `coord claims`: who may touch what, for shells."""

from collections.abc import Sequence
from typing import Any

import click
from coord.environment import SYSTEM
from coord.times import timestamp_ns
from coord.v1 import claims_pb2

from coord_cli.amounts import format_length
from coord_cli.claiming import Wish, claim_and_run, claim_for, resource_text
from coord_cli.command import EXIT_FAILED, UsageProblem, group_with_default, json_option, run_async
from coord_cli.output import as_dict, print_json, print_table
from coord_cli.parameters import LENGTH
from coord_cli.party import Opening, Party, party_options

_PAGE = 1_000
_COMMAND = "coord.command"


class _BeforeCommand(click.Command):
    """A command whose own arguments end at `--`; what follows is another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[_COMMAND] = tuple(args[end + 1 :])
        return super().parse_args(ctx, args[:end])


@click.command(
    cls=_BeforeCommand, options_metavar="[OPTIONS]", epilog="... [-- COMMAND [ARGUMENT]...]"
)
@click.argument("paths", nargs=-1)
@party_options
@click.option("--name", "names", multiple=True, help="A thing that has a name: `port/5432`.")
@click.option("--shared", is_flag=True, help="Others may hold it shared at the same time.")
@click.option(
    "--wait", type=LENGTH, default=0, metavar="LENGTH", help="How long to wait.  [default: not]"
)
@click.option(
    "--for",
    "lease",
    type=LENGTH,
    metavar="LENGTH",
    help="How long to hold it, without a COMMAND.  [default: 10m; in an agent: while it works]",
)
@click.option("--as", "holder", help="Who holds it.  [default: this shell, or the worker]")
@json_option
@click.pass_context
def claim(
    context: click.Context,
    *,
    paths: Sequence[str],
    open_party: Opening,
    names: Sequence[str],
    shared: bool,
    wait: int,
    lease: int | None,
    holder: str | None,
    as_json: bool,
) -> None:
    """Claim PATHS, globs as in .gitignore, and names: all of them, or none.

    With a COMMAND it is held while that runs. Without one its id is printed, and it is held until
    `coord claims release ID`, or as long as --for says.

    Exit codes: that of COMMAND; otherwise 0 held, 1 it was not to be had, 2 wrong usage.
    """
    command = context.meta[_COMMAND]
    resources = [claims_pb2.Resource(path=path, shared=shared) for path in paths]
    resources += [claims_pb2.Resource(name=name, shared=shared) for name in names]
    if not resources:
        raise click.UsageError("name PATHS, or a --name")
    if command and lease is not None:
        raise click.UsageError("--for goes without a COMMAND: with one it is held while that runs")
    wish = Wish(resources, wait, holder)

    async def body() -> int:
        async with open_party() as party:
            if not party.served:
                raise UsageProblem("no services are running to keep a claim; start `coord up`")
            if command:
                return await claim_and_run(party, wish, command)
            held = await claim_for(party, wish, lease)
            if held is not None:
                _tell(held, as_json=as_json)
            return EXIT_FAILED if held is None else 0

    run_async(body)


def _tell(held: claims_pb2.Claim, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(held))
    else:
        click.echo(held.claim_id)


@click.group(cls=group_with_default("list"))
def claims() -> None:
    """List claims, or give them back. Without a command: list."""


@claims.command("list")
@party_options
@json_option
def list_(*, open_party: Opening, as_json: bool) -> None:
    """List the claims that are held or wait, in the order in which they were asked for."""

    async def body() -> None:
        async with open_party() as party:
            found = await _all(party)
        if as_json:
            print_json([as_dict(one) for one in found])
        else:
            print_table(("claim", "holder", "", "what", "until"), map(_row, found))

    run_async(body)


def _row(one: claims_pb2.Claim) -> tuple[str, ...]:
    what = ", ".join(map(resource_text, one.resources))
    waits = one.state == claims_pb2.CLAIM_STATE_WAITING
    return one.claim_id, one.holder, "waits" if waits else "holds", what, _until(one)


def _until(one: claims_pb2.Claim) -> str:
    if one.HasField("attempt"):
        return f"{one.attempt.task_id} has landed"
    left_ns = timestamp_ns(one.expires_at) - SYSTEM.now_ns()
    return format_length(left_ns) if one.HasField("expires_at") else ""


@claims.command()
@click.argument("claim_ids", metavar="CLAIM...", nargs=-1, required=True)
@party_options
@json_option
def release(*, claim_ids: Sequence[str], open_party: Opening, as_json: bool) -> None:
    """Give claims back; the operator may take them from anybody, an agent gives its own."""

    async def body() -> int:
        async with open_party() as party:
            results = await _release(party, claim_ids)
        released = [one.claim_id for one in results if not one.HasField("error")]
        if as_json:
            print_json([as_dict(result) for result in results])
        elif released:
            click.echo(f"released {', '.join(released)}")
        for result in results:
            if result.HasField("error"):
                click.echo(f"coord: {result.claim_id}: {result.error.message}", err=True)
        return EXIT_FAILED if any(result.HasField("error") for result in results) else 0

    run_async(body)


async def _release(party: Party, ids: Sequence[str]) -> list[claims_pb2.ClaimReportResult]:
    holders = {one.claim_id: one.holder for one in await _all(party)}
    results: list[claims_pb2.ClaimReportResult] = []
    for claim_id in ids:
        request = claims_pb2.ReleaseClaimsRequest(
            project=party.project,
            holder=party.name if party.attempt else holders.get(claim_id, party.name),
            claim_ids=[claim_id],
        )
        results += (await party.coordinator.ReleaseClaims(request)).results
    return results


async def _all(party: Party) -> list[claims_pb2.Claim]:
    request = claims_pb2.ListClaimsRequest(project=party.project, page_size=_PAGE)
    found: list[Any] = []
    while True:
        page = await party.coordinator.ListClaims(request)
        found += page.claims
        request.page_token = page.next_page_token
        if not request.page_token:
            return found
