"""`coord events`: what has happened, and what happens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import click
from coord.v1 import coordinator_pb2
from coord_host.endpoint import find
from coord_host.places import Place

from coord_cli.command import following, json_option, place_options, run_async, services_ended
from coord_cli.event_lines import event_line, occurred_ns
from coord_cli.output import as_dict, print_json

_QUIET_S = 0.5


@click.command()
@place_options
@click.option("--follow", "-f", is_flag=True, help="Go on with new events as they happen.")
@click.option("--after", default="", metavar="CURSOR", help="Only what follows this cursor.")
@json_option
def events(*, place: Place, follow: bool, after: str, as_json: bool) -> None:
    """Print the events of all services, oldest first.

    As JSON they come as the services give them: each service's in order, causes first, and each
    with the cursor to go on after.
    """
    run_async(lambda: _events(place, follow=follow, after=after, as_json=as_json))


async def _events(place: Place, *, follow: bool, after: str, as_json: bool) -> None:
    # Where nothing runs, nothing more will happen.
    follow = follow and find(place) is not None
    request = coordinator_pb2.WatchEventsRequest(project=place.project, after=after)
    stored: list[coordinator_pb2.Event] = []
    is_stored = not as_json
    async with following(place) as services:
        async for batch in _read(services.coordinator.WatchEvents(request)):
            if is_stored:
                stored += batch
            else:
                _print(batch, as_json=as_json)
            if not batch:
                _print(sorted(stored, key=occurred_ns), as_json=as_json)
                stored, is_stored = [], False
                if not follow:
                    return
    raise services_ended()


def _print(batch: Sequence[coordinator_pb2.Event], *, as_json: bool) -> None:
    for event in batch:
        if as_json:
            print_json(as_dict(event))
        else:
            click.echo(event_line(event))


async def _read(stream: Any) -> AsyncIterator[Sequence[coordinator_pb2.Event]]:
    """Yield events as they come, and an empty batch each time that none come for a while.

    The stream has no end: what was stored comes at once, and then there is silence.
    """
    reading = asyncio.ensure_future(stream.read())
    while True:
        done, _ = await asyncio.wait({reading}, timeout=_QUIET_S)
        if not done:
            yield ()
            continue
        response = await reading
        if not isinstance(response, coordinator_pb2.WatchEventsResponse):
            return
        yield response.events
        reading = asyncio.ensure_future(stream.read())
