"""What came of one run of an agent: what it left, and how that is judged."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from coord.v1 import queue_pb2

from coord_worker.money import Expense
from coord_worker.provider_errors import reason_of
from coord_worker.resets import reset_ns

_MESSAGE_CHARS_MAX = 2_000
_LINE_CHARS_MAX = 200


@dataclass(frozen=True)
class Ended:
    """A run of an agent that is over.

    Attributes:
        exit_status: Its exit status; the negative number of a signal.
        stdout: The end of what it printed.
        stderr: The end of what it printed as errors.
        now_ns: The time, for limits that end so much later.
    """

    exit_status: int
    stdout: bytes = b""
    stderr: bytes = b""
    now_ns: int = 0

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects that are lines of the output; other lines are passed over."""
        for line in self.stdout.decode(errors="replace").splitlines():
            found = parse_json(line)
            if isinstance(found, dict):
                yield found

    def last_line(self) -> str:
        """Return the last line that it printed, of its errors if there are any; empty for none."""
        for output in (self.stderr, self.stdout):
            lines = output.decode(errors="replace").strip().splitlines()
            if lines:
                return "".join(filter(str.isprintable, lines[-1]))[:_LINE_CHARS_MAX]
        return ""


@dataclass(frozen=True)
class Answer:
    """What came of one run of an agent.

    Attributes:
        reason: Why it failed; None for a success.
        message: What it says about it; empty where it says nothing.
        expenses: What it says that it spent.
        not_before_ns: When trying again can help, where it says so.
    """

    reason: queue_pb2.FailureReason | None
    message: str = ""
    expenses: list[Expense] = field(default_factory=list)
    not_before_ns: int | None = None


def parse_json(text: str) -> object:
    """Return what a text holds as JSON; None where it holds none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else, since an answer may hold anything."""
    return value if isinstance(value, dict) else {}


def success(text: str, expenses: list[Expense] | None = None) -> Answer:
    """Return the answer of an agent that is done."""
    return Answer(None, text.strip()[:_MESSAGE_CHARS_MAX], expenses or [])


def failure(
    text: str, ended: Ended, *, status: object = None, expenses: list[Expense] | None = None
) -> Answer:
    """Return the answer of an agent that tells of an error.

    Args:
        text: Its words; they and the HTTP status tell the provider's errors apart.
        ended: Its run.
        status: The HTTP status of the provider's answer, where it is known.
        expenses: What it says that it spent.
    """
    reason = reason_of(text, status) or queue_pb2.FAILURE_REASON_AGENT_ERROR
    limited = reason == queue_pb2.FAILURE_REASON_RATE_LIMITED
    return Answer(
        reason,
        text.strip()[:_MESSAGE_CHARS_MAX] or "the agent failed and did not say why",
        expenses or [],
        reset_ns(text, ended.now_ns) if limited else None,
    )


def without_answer(ended: Ended, expenses: list[Expense] | None = None) -> Answer:
    """Judge an agent whose answer is not there, or not understood, by its exit status."""
    if ended.exit_status == 0:
        return Answer(None, expenses=expenses or [])
    message = f"the agent exited with status {ended.exit_status} without an answer"
    if ended.exit_status < 0:
        message = f"the agent was ended by signal {-ended.exit_status}"
    return Answer(queue_pb2.FAILURE_REASON_AGENT_CRASHED, message, expenses or [])
