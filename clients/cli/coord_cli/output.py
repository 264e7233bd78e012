"""How answers are printed: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from coord.v1 import queue_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

_CHARS_OFF_TERMINAL = 200


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as the contract names its fields."""
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def print_json(value: Any) -> None:
    """Print a value on one line, so that a stream of them can be read line by line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def console() -> Console:
    """Return a console that does not fold tables where nobody sees them."""
    found = Console(highlight=False, markup=False)
    if found.is_terminal:
        return found
    return Console(highlight=False, markup=False, width=_CHARS_OFF_TERMINAL)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their column names."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # Two ids may differ at their ends only: fold them rather than cut them off.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    shown = console()
    with shown.capture() as captured:
        shown.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def state_name(state: queue_pb2.TaskState) -> str:
    """Return a task's state as people read it."""
    return queue_pb2.TaskState.Name(state).removeprefix("TASK_STATE_")


NEXT_STEPS = {
    "AGENT_CRASHED": "`coord logs TASK` shows what the agent printed before it crashed",
    "AGENT_UNAVAILABLE": "log the agent in, or see to its account or command; then run again",
    "BUDGET_SPENT": (
        "raise the budget that is named: `budget` below `[plan]` for a run's, otherwise"
        " `coord cost budget SCOPE AMOUNT`, such as account/mykey '$50'"
    ),
    "CHECK_FAILED": "`coord logs --check TASK` shows what the check printed",
    "CONFLICT": "`coord task show TASK` shows both sides of the conflict",
    "NO_CHANGE": "say in the prompt what is to change, or drop the task's expects_change",
    "OUT_OF_BUDGET": "give the task a larger budget, or split it; --retry-failed then tries it so",
    "PAUSED": "`coord merge resume` lets changes land again; after `coord stop`, `coord resume`",
    "REFUSED": "word the task otherwise, or give it to another model; then --retry-failed",
    "TARGET_RED": (
        "make the check pass on the target alone, and commit that; `coord logs --check` shows what"
        " it printed there"
    ),
    "TIMEOUT": "give the task a longer timeout, or split it; --retry-failed then tries it so",
}


def failure_name(reason: queue_pb2.FailureReason) -> str:
    """Return why an attempt failed as people read it; empty where it did not."""
    if not reason:
        return ""
    if reason not in queue_pb2.FailureReason.values():
        return "AGENT_ERROR"
    return queue_pb2.FailureReason.Name(reason).removeprefix("FAILURE_REASON_")
