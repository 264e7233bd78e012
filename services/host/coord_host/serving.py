"""`coord up`: serves a project until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable

from coord_host.endpoint import Endpoint
from coord_host.host import start
from coord_host.overrides import Overrides
from coord_host.places import Place
from coord_host.split import start_split

_DRAIN_S = 30.0


async def serve(
    place: Place,
    overrides: Overrides,
    *,
    split: bool,
    ready: Callable[[Endpoint], None] = lambda _: None,
) -> None:
    """Serve a project until SIGTERM or SIGINT, then drain.

    Args:
        place: The project.
        overrides: Settings by section.
        split: Run each service in a process of its own.
        ready: Told where the services are, once they serve.

    Raises:
        CoordError: FOLDER_LOCKED where the project is served already.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if split:
        async with start_split(place, overrides) as endpoint:
            ready(endpoint)
            await stopped.wait()
        return
    async with start(place, overrides) as host:
        ready(host.endpoint)
        await stopped.wait()
        await host.drain(_DRAIN_S)
