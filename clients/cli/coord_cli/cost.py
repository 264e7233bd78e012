"""`coord cost`: what was spent, what may be spent, and on what."""

import csv
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import click
from coord.environment import SYSTEM
from coord.times import SECOND, timestamp_ns
from coord.v1 import common_pb2, ledger_pb2, queue_pb2
from coord_host.places import Place

from coord_cli.amounts import CURRENCY, format_money
from coord_cli.command import (
    EXIT_FAILED,
    Services,
    json_option,
    looking,
    place_options,
    run_async,
)
from coord_cli.output import as_dict, print_json, print_table
from coord_cli.parameters import CAP, MONEY, SCOPE

_PAGE = 1_000
_WINDOWS = {
    "total": ledger_pb2.BUDGET_WINDOW_TOTAL,
    "day": ledger_pb2.BUDGET_WINDOW_DAY,
    "month": ledger_pb2.BUDGET_WINDOW_MONTH,
}
_CAPS = {"total": "cap for ever", "day": "cap a day", "month": "cap a month"}
_COLUMNS = (
    "posted_at",
    "entry_id",
    "currency",
    "amount",
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "requests",
    "scopes",
    "reservation_id",
)
_TOKENS = _COLUMNS[5:10]


@click.group()
def cost() -> None:
    """Show what was spent, book a cost, cap what may be spent."""


@cost.command()
@click.argument("scopes", metavar="[SCOPE]...", type=SCOPE, nargs=-1)
@place_options
@click.option("--csv", "as_csv", is_flag=True, help="Print every entry, for spreadsheets.")
@json_option
def show(*, scopes: Sequence[tuple[int, str]], place: Place, as_csv: bool, as_json: bool) -> None:
    """Show what was spent, what is reserved, and what may be spent.

    SCOPE is `project`, `run/ID`, `task/ID`, `worker/NAME` or `account/NAME`. Without one: the
    project, and all that has a cap.
    """

    async def body() -> None:
        async with looking(place) as services:
            wanted = [_scope(place, one) for one in scopes or [_PROJECT]]
            if as_csv:
                await _print_entries(services, wanted)
                return
            balances = [await _balance(services, scope) for scope in wanted]
            if not scopes:
                capped = [one async for one in _capped(services)]
                balances += [one for one in capped if one.scope not in wanted]
        if as_json:
            print_json([as_dict(balance) for balance in balances])
        else:
            columns = ("scope", "spent", "reserved", "cap", "of which spent")
            print_table(columns, (row for one in balances for row in _rows(one)))

    run_async(body)


@cost.command()
@click.argument("scope", type=SCOPE)
@click.argument("amount", type=MONEY)
@place_options
@click.option("--id", "entry_id", help="An id of your own: the same one is booked once.")
@click.option("--model", default="", help="The model that was used.")
@click.option("--input", "input_tokens", type=click.IntRange(0), default=0, help="Input tokens.")
@click.option("--output", "output_tokens", type=click.IntRange(0), default=0, help="Output tokens.")
@json_option
def add(
    *,
    scope: tuple[int, str],
    amount: int,
    place: Place,
    entry_id: str | None,
    model: str,
    input_tokens: int,
    output_tokens: int,
    as_json: bool,
) -> None:
    """Book AMOUNT that was spent on SCOPE beside Coord; it counts for the project, too.

    Agents append to the file that COORD_COST_FILE names instead.
    """
    scopes = [_scope(place, one) for one in dict.fromkeys((scope, _PROJECT))]
    usage = common_pb2.Usage(model=model, input_tokens=input_tokens, output_tokens=output_tokens)
    booked = ledger_pb2.Cost(
        entry_id=entry_id or SYSTEM.new_id("cost-"),
        scopes=scopes,
        amount=_usd(amount),
        usage=usage if usage.ByteSize() else None,
    )

    async def body() -> int:
        async with looking(place, anew=True) as services:
            if scope[0] == ledger_pb2.SCOPE_KIND_TASK:
                # One that is not there is an error.
                task = queue_pb2.GetTaskRequest(project=place.project, task_id=scope[1])
                await services.queue.GetTask(task)
            request = ledger_pb2.RecordCostsRequest(project=place.project, costs=[booked])
            result = (await services.ledger.RecordCosts(request)).results[0]
        if as_json:
            print_json(as_dict(result))
        elif result.HasField("error"):
            click.echo(f"coord: {result.error.message}", err=True)
        else:
            where = _scope_text(booked.scopes[0])
            click.echo(f"{where}: {format_money(amount)} booked as {booked.entry_id}")
        return EXIT_FAILED if result.HasField("error") else 0

    run_async(body)


@cost.command()
@click.argument("scope", type=SCOPE)
@click.argument("amount", type=CAP)
@place_options
@click.option("--per", type=click.Choice(list(_WINDOWS)), default="total", help="For how long.")
@click.option(
    "--warn-at",
    "thresholds",
    type=click.FloatRange(0, 1),
    multiple=True,
    help="Share of it that is told of; can be given several times.  [default: 0.8]",
)
@json_option
def budget(
    *,
    scope: tuple[int, str],
    amount: float,
    place: Place,
    per: str,
    thresholds: Sequence[float],
    as_json: bool,
) -> None:
    """Let AMOUNT at most be spent on SCOPE: for ever, or in each day or month of UTC.

    The amount `none` takes the cap for that length of time away: without --per the one for ever.
    Those for other lengths stay.
    """
    remove = amount == math.inf
    if remove and thresholds:
        raise click.UsageError("--warn-at does not go with none")
    request = ledger_pb2.SetBudgetRequest(
        project=place.project,
        scope=_scope(place, scope),
        cap=None if remove else _usd(int(amount)),
        remove=remove,
        window=_WINDOWS[per],
        thresholds=thresholds,
    )

    async def body() -> None:
        async with looking(place, anew=True) as services:
            before = await _balance(services, request.scope)
            balance = (await services.ledger.SetBudget(request)).balance
        if as_json:
            print_json(as_dict(balance))
        elif remove:
            had = any(one.window == request.window for one in before.budgets)
            what = f"{'took away its' if had else 'there was no'} {_CAPS[per]}; left"
            click.echo(f"{_scope_text(balance.scope)}: {what}: {_caps_text(balance)}")
        else:
            click.echo(f"{_scope_text(balance.scope)}: {_caps_text(balance)}")

    run_async(body)


_PROJECT = (ledger_pb2.SCOPE_KIND_PROJECT, "")


def _scope(place: Place, scope: tuple[int, str]) -> ledger_pb2.Scope:
    kind, name = scope
    where = name or place.project
    return ledger_pb2.Scope(kind=kind, id=where)  # type: ignore[arg-type]  # an int but for its type


def _usd(nanos: int) -> common_pb2.Money:
    return common_pb2.Money(currency=CURRENCY, nanos=nanos)


async def _balance(services: Services, scope: ledger_pb2.Scope) -> ledger_pb2.Balance:
    request = ledger_pb2.GetBalanceRequest(project=services.project, scope=scope)
    return (await services.ledger.GetBalance(request)).balance


async def _capped(services: Services) -> AsyncIterator[ledger_pb2.Balance]:
    request = ledger_pb2.ListBudgetsRequest(project=services.project, page_size=_PAGE)
    async for page in _pages(services.ledger.ListBudgets, request):
        for balance in page.balances:
            yield balance


async def _pages(ask: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
    """Yield the answers to a request that lists, page by page."""
    while True:
        page = await ask(request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _caps_text(balance: ledger_pb2.Balance) -> str:
    """Return in one line which caps a scope has now."""
    caps = [f"{_cap_text(one)}, {format_money(one.posted.nanos)} spent" for one in balance.budgets]
    return "; ".join(caps) or "no cap"


def _cap_text(budget: ledger_pb2.Budget) -> str:
    window = next(text for text, window in _WINDOWS.items() if window == budget.window)
    cap = format_money(budget.cap.nanos)
    return cap if window == "total" else f"{cap} a {window}"


def _rows(balance: ledger_pb2.Balance) -> Iterator[tuple[str, ...]]:
    name = _scope_text(balance.scope)
    spent, held = format_money(balance.posted.nanos), format_money(balance.pending.nanos)
    if not balance.budgets:
        yield name, spent, held, "", ""
    for one in balance.budgets:
        yield name, spent, held, _cap_text(one), format_money(one.posted.nanos)


def _scope_text(scope: ledger_pb2.Scope) -> str:
    kind = ledger_pb2.ScopeKind.Name(scope.kind).removeprefix("SCOPE_KIND_").lower()
    return f"{kind}/{scope.id}"


async def _print_entries(services: Services, scopes: Sequence[ledger_pb2.Scope]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for scope in scopes:
        async for entry in _entries(services, scope):
            writer.writerow(_cells(entry))


async def _entries(
    services: Services, scope: ledger_pb2.Scope
) -> AsyncIterator[ledger_pb2.LedgerEntry]:
    request = ledger_pb2.ListEntriesRequest(project=services.project, scope=scope, page_size=_PAGE)
    async for page in _pages(services.ledger.ListEntries, request):
        for entry in page.entries:
            yield entry


def _cells(entry: ledger_pb2.LedgerEntry) -> list[str]:
    units, nanos = divmod(abs(entry.amount.nanos), SECOND)
    sign = "-" if entry.amount.nanos < 0 else ""
    counts = [str(getattr(entry.usage, name)) for name in _TOKENS]
    scopes = " ".join(map(_scope_text, entry.scopes))
    at = entry.posted_at.ToJsonString() if timestamp_ns(entry.posted_at) else ""
    money = (entry.amount.currency, f"{sign}{units}.{nanos:09}")
    return [at, entry.entry_id, *money, entry.usage.model, *counts, scopes, entry.reservation_id]
