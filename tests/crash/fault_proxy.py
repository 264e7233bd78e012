"""A proxy between workers and a server that delays, cuts, stalls and half-opens connections."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Self

_CHUNK_BYTES = 64 * 2**10


@dataclass(frozen=True)
class Weather:
    """How bad the way is.

    Attributes:
        delay_s: Longest delay of what goes one way.
        fate_s: Mean time until something happens to a connection.
        stall_s: Longest time for which one direction stands still.
    """

    delay_s: float
    fate_s: float
    stall_s: float


@dataclass
class _Link:
    """One connection through the proxy.

    Attributes:
        writers: The way to each end.
        dead: The direction that carries nothing any more, if there is one.
        still_until_s: Until when nothing moves, by direction.
    """

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    dead: int | None = None
    still_until_s: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class FaultProxy:
    """Listens on a port of its own.

    Args:
        target: The server, as host:port.
        chance: Decides what goes wrong when.
        weather: How bad the way is.

    Attributes:
        address: Where it listens.
        calm: Whether nothing new goes wrong; what is half-open stays so.
    """

    def __init__(self, target: str, chance: Random, weather: Weather) -> None:
        self.address = ""
        self.calm = False
        host, port = target.rsplit(":", 1)
        self._host, self._port = host, int(port)
        self._chance = chance
        self._weather = weather
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        link = _Link((far_writer, writer))
        parts = [
            asyncio.create_task(self._pump(link, 0, reader)),
            asyncio.create_task(self._pump(link, 1, far_reader)),
            asyncio.create_task(self._strike(link)),
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            link.cut()

    async def _pump(self, link: _Link, way: int, reader: asyncio.StreamReader) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._hold_up(link, way)
                if link.dead != way:
                    link.writers[way].write(chunk)
                    await link.writers[way].drain()
        except ConnectionError:
            pass
        if link.dead is not None:  # The other end does not hear of the end, either.
            await asyncio.Event().wait()

    async def _hold_up(self, link: _Link, way: int) -> None:
        still_s = link.still_until_s[way] - asyncio.get_running_loop().time()
        delay_s = 0.0 if self.calm else self._chance.uniform(0, self._weather.delay_s)
        if max(still_s, delay_s) > 0:
            await asyncio.sleep(max(still_s, delay_s))

    async def _strike(self, link: _Link) -> None:
        """Let things happen to a connection; return when it is to be cut."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._weather.fate_s))
            fate = "none" if self.calm else self._chance.choice(("cut", "half-open", "stall"))
            way = self._chance.randrange(2)
            if fate == "cut":
                return
            if fate == "half-open":
                link.dead = way
            if fate == "stall":
                still_s = self._chance.uniform(0, self._weather.stall_s)
                link.still_until_s[way] = asyncio.get_running_loop().time() + still_s
