"""The two files through which an agent tells its worker something while it runs."""

from collections.abc import Callable
from pathlib import Path

from coord_worker.agent_files import open_to_read

_READ_BYTES_MAX = 2**20
_LINE_BYTES_MAX = 2**16


class WatchedFile:
    """A file to which an agent appends lines; each is told once.

    Args:
        path: The file; it need not be there.
        on_line: Told each line that is complete, without its end. Blank lines are left out.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._path = path
        self._on_line = on_line
        self._offset = 0
        self._rest = b""

    def poll(self) -> None:
        """Tell the lines that were completed since the last time, at most 1 MiB of them."""
        for line in self._read() or ():
            self._tell(line)

    def finish(self) -> None:
        """Tell all that is left; the last line needs no end."""
        while (lines := self._read()) is not None:
            for line in lines:
                self._tell(line)
        self._tell(self._rest)
        self._rest = b""

    def _read(self) -> list[bytes] | None:
        """Return the lines that the next part of the file completes; None at its end."""
        try:
            with open_to_read(self._path) as file:
                file.seek(self._offset)
                chunk = file.read(_READ_BYTES_MAX)
        except OSError:
            return None
        if not chunk:
            return None
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LINE_BYTES_MAX:
            self._rest = self._rest[:_LINE_BYTES_MAX]
        return lines

    def _tell(self, line: bytes) -> None:
        text = line[:_LINE_BYTES_MAX].decode(errors="replace").replace("\0", "").strip()
        if text:
            self._on_line(text)
