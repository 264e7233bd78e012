"""What a worker was sent, in a file that its agents read."""

import json
import os
from itertools import compress
from operator import not_
from pathlib import Path

from coord.times import timestamp_ns
from coord.v1 import coordinator_pb2

INBOX = "COORD_INBOX_FILE"
_BYTES_MAX = 8 * 2**20


def inbox_path(folder: Path, worker: str) -> Path:
    """Return the file of a worker's messages: JSON lines, oldest first."""
    return folder / "inbox" / f"{worker}.jsonl"


class Inbox:
    """Writes messages down, each once.

    Args:
        path: The file. What a predecessor of this process wrote stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = set(_ids(path))

    def add(self, message: coordinator_pb2.WorkerMessage) -> None:
        """Write a message down; it is on disk on return, so that it may be acknowledged."""
        if message.message_id in self._seen:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > _BYTES_MAX:
            self._path.replace(self._path.with_suffix(".old.jsonl"))
        with self._path.open("a") as file:
            file.write(json.dumps(as_line(message)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._seen.add(message.message_id)

    def forget(self, sender: str, thread: str) -> None:
        """Drop a thread of a sender's from the file: it says nothing to the next agent."""
        if not self._path.exists():
            return
        lines = self._path.read_text().splitlines(keepends=True)
        told = map(json.loads, lines)
        of_thread = [(one["sender"], one["thread"]) == (sender, thread) for one in told]
        if any(of_thread):
            draft = self._path.with_suffix(".draft")
            with draft.open("w") as file:
                file.writelines(compress(lines, map(not_, of_thread)))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)


def as_line(message: coordinator_pb2.WorkerMessage) -> dict[str, object]:
    """Return a message as it is written down."""
    return {
        "id": message.message_id,
        "sender": message.sender,
        "thread": message.thread,
        "body": message.body,
        "sent_at_ns": timestamp_ns(message.sent_at),
    }


def _ids(path: Path) -> list[str]:
    """Return what is written down; half a line, as a kill leaves it, counts for nothing."""
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - len(rest))
    return [json.loads(line)["id"] for line in lines]
