"""What an agent prints: kept in its log up to a bound, its end at hand for reports."""

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path

import structlog

_TAIL_BYTES = 2**20
_CHUNK_BYTES = 2**16

_log = structlog.get_logger()


class Tail:
    """The end of a stream of bytes.

    Attributes:
        dropped: How many bytes came before it.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self.dropped = 0

    def feed(self, chunk: bytes) -> None:
        """Add to the stream."""
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        while self._bytes - len(self._chunks[0]) >= self._bytes_max:
            first = self._chunks.popleft()
            self._bytes -= len(first)
            self.dropped += len(first)

    def bytes(self) -> bytes:
        """Return the end of the stream; at most one chunk more than was asked for."""
        return b"".join(self._chunks)


class OutputLog:
    """The log of one attempt. Above the bound, its head and its tail are kept.

    Args:
        path: The file; made anew.
        bytes_max: How much is kept.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._room = max(bytes_max - _TAIL_BYTES, 0)
        self._tail = Tail(_TAIL_BYTES)
        self._cut: Tail | None = None

    def feed(self, chunk: bytes) -> None:
        """Keep what was printed."""
        self._tail.feed(chunk)
        head, rest = chunk[: self._room], chunk[self._room :]
        self._room -= len(head)
        self._write(head)
        if rest:
            self._keep_for_the_end(rest)

    def _write(self, content: bytes) -> None:
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            # A full disk costs the log, not the attempt.
            _log.warning("cannot write the log", path=self._file.name, error=str(error))

    def _keep_for_the_end(self, chunk: bytes) -> None:
        if self._cut is None:
            self._cut = Tail(_TAIL_BYTES)
            self._write(b"\n[coord: the log is full; its end follows when the agent ends]\n")
        self._cut.feed(chunk)

    def last_lines(self, bytes_max: int) -> str:
        """Return the end of what was printed, from the beginning of a line where that fits."""
        text = self._tail.bytes()
        if len(text) > bytes_max:
            text = text[-bytes_max:]
            text = text[text.find(b"\n") + 1 :]
        return text.decode(errors="replace").strip()

    def close(self) -> None:
        """Write the tail, if the log was full before, and close the file."""
        if self._cut is not None:
            self._write(b"[coord: %d bytes are left out]\n" % self._cut.dropped)
            self._write(self._cut.bytes())
        with contextlib.suppress(OSError):
            self._file.close()


class Reader:
    """Reads a pipe into one or two places until it ends, or until `stop`."""

    def __init__(self, pipe: int, *places: OutputLog | Tail) -> None:
        self._pipe = pipe
        self._places = places
        self._ended = asyncio.Event()
        os.set_blocking(pipe, False)
        asyncio.get_running_loop().add_reader(pipe, self._read)

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._close()
        for place in self._places if chunk else ():
            place.feed(chunk)

    async def wait(self, timeout_s: float) -> None:
        """Wait for the end of the pipe, but not for ever: somebody may still hold its other end."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            self._close()

    def _close(self) -> None:
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._ended.set()
