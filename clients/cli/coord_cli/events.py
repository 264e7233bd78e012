"""`coord events`: what has happened, and what happens."""

import asyncio

import click
from coord.times import SECOND, timestamp_ns
from coord.v1 import coordinator_pb2
from coord_host import Place

from coord_cli.command import attached, json_option, place_options, run_async
from coord_cli.output import as_dict, print_json

_QUIET_S = 0.5


@click.command()
@place_options
@click.option("--follow", "-f", is_flag=True, help="Go on with new events as they happen.")
@click.option("--after", default="", metavar="CURSOR", help="Only what follows this cursor.")
@json_option
def events(*, place: Place, follow: bool, after: str, as_json: bool) -> None:
    """Print the events of all services, oldest first."""
    run_async(lambda: _events(place, follow=follow, after=after, as_json=as_json))


async def _events(place: Place, *, follow: bool, after: str, as_json: bool) -> None:
    request = coordinator_pb2.WatchEventsRequest(project=place.project, after=after)
    async with attached(place) as services:
        stream = services.coordinator.WatchEvents(request)
        while True:
            # The stream has no end: what was stored comes at once, and then there is silence.
            try:
                async with asyncio.timeout(None if follow else _QUIET_S):
                    response = await stream.read()
            except TimeoutError:
                return
            for event in getattr(response, "events", ()):
                _print(event, as_json=as_json)
            if not isinstance(response, coordinator_pb2.WatchEventsResponse):
                return


def _print(event: coordinator_pb2.Event, *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(event))
        return
    kind = event.WhichOneof("event")
    if kind is None:
        return
    body = getattr(event, kind)
    seconds, rest = divmod(timestamp_ns(body.meta.occurred_at), SECOND)
    fields = as_dict(body)
    fields.pop("meta", None)
    text = " ".join(f"{name}={_short(value)}" for name, value in fields.items())
    click.echo(f"{_clock(seconds)}.{rest // 10**6:03}  {event.name:<28} {text}")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={_short(one)}" for name, one in value.items()) + "}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - the number is its own name here.
