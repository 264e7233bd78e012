"""`coord message`: what workers and the operator tell one another."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from coord.environment import SYSTEM
from coord.times import duration
from coord.v1 import coordinator_pb2
from coord_worker.inbox import INBOX, as_line

from coord_cli.command import json_option, run_async
from coord_cli.output import print_json
from coord_cli.parameters import LENGTH
from coord_cli.party import Opening, party_options


@click.group()
def message() -> None:
    """Send messages to workers, and read an agent's own."""


@message.command()
@click.argument("body")
@party_options
@click.option("--to", "worker", metavar="WORKER", help="One worker, also one that has left.")
@click.option("--role", help="All workers that have this role now.")
@click.option("--everybody", is_flag=True, help="All workers that are there now.")
@click.option("--thread", default="", help="Groups messages: an id.")
@click.option(
    "--for",
    "time_to_live",
    type=LENGTH,
    metavar="LENGTH",
    help="How long it is worth anything.  [default: 1h]",
)
@json_option
def send(
    *,
    body: str,
    open_party: Opening,
    worker: str | None,
    role: str | None,
    everybody: bool,
    thread: str,
    time_to_live: int | None,
    as_json: bool,
) -> None:
    """Send BODY, or with `-` what is on standard input; from an agent's shell as its worker."""
    if [bool(worker), bool(role), everybody].count(True) != 1:
        raise click.UsageError("say who gets it: --to WORKER, --role ROLE or --everybody")
    sent = coordinator_pb2.WorkerMessage(
        message_id=SYSTEM.new_id("message-"),
        thread=thread,
        body=sys.stdin.read() if body == "-" else body,
        time_to_live=duration(time_to_live or 0),
    )
    if everybody:
        sent.everybody = True
    elif role:
        sent.role = role
    else:
        sent.worker = worker or ""

    async def send_it() -> None:
        async with open_party() as party:
            request = coordinator_pb2.SendMessageRequest(project=party.project, message=sent)
            answer = await party.coordinator.SendMessage(request)
        if as_json:
            print_json({"id": sent.message_id, "workers": list(answer.workers)})
        else:
            click.echo(f"{sent.message_id} for {', '.join(answer.workers)}")

    run_async(send_it)


@message.command()
@party_options
@click.option("--keep", is_flag=True, help="Show the operator's again the next time.")
@json_option
def inbox(*, open_party: Opening, keep: bool, as_json: bool) -> None:
    """Print messages, oldest first: the operator's once, in an agent's shell its worker's."""
    if os.environ.get(INBOX):
        _show(list(_read(Path(os.environ[INBOX]))), as_json=as_json)
        return

    async def read_them() -> None:
        async with open_party() as party:
            request = coordinator_pb2.ReadMessagesRequest(project=party.project)
            found = (await party.coordinator.ReadMessages(request)).messages
            _show(list(map(as_line, found)), as_json=as_json)
            if found and not keep:
                request.read_ids.extend(one.message_id for one in found)
                await party.coordinator.ReadMessages(request)

    run_async(read_them)


def _show(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for one in found:
        thread = f" ({one['thread']})" if one["thread"] else ""
        click.echo(f"{one['sender']}{thread}: {one['body']}")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())
