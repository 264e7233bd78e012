"""The agents that a worker can run: any command, and presets that know what they say.

An agent reads its prompt from standard input, works in the folder that it is started in, and is
done when it exits with 0. A preset also knows its agent's flags and the answer that it prints.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from coord.times import SECOND
from coord.v1 import common_pb2, queue_pb2

from coord_worker.money import Expense, count, usd_nanos

_MESSAGE_CHARS_MAX = 2_000


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


class Agent(Protocol):
    """Something that can be asked to do a task."""

    @property
    def executable(self) -> str:
        """What must be installed for it; empty for a command of the shell."""

    def command(self, budget_usd: str) -> list[str]:
        """Return the arguments to run it with; it may spend `budget_usd`, where that is set."""

    def read_answer(self, exit_status: int, stdout: bytes) -> Answer:
        """Judge a run by its exit status and what it printed. Never raises."""


@dataclass(frozen=True)
class ShellAgent:
    """Any command, run by the shell."""

    line: str
    executable: str = ""

    def command(self, budget_usd: str) -> list[str]:
        """Return the shell's arguments; the command finds its budget in COORD_BUDGET_USD."""
        del budget_usd
        return ["/bin/sh", "-c", self.line]

    def read_answer(self, exit_status: int, stdout: bytes) -> Answer:
        """Judge by the exit status alone."""
        del stdout
        return _by_exit_status(exit_status)


@dataclass(frozen=True)
class ClaudeAgent:
    """Claude Code without its terminal: `claude -p --output-format json`.

    File edits are allowed, as nobody is there to be asked; other tools as its own settings and
    `args` say.
    """

    args: Sequence[str] = ()
    executable: str = "claude"

    def command(self, budget_usd: str) -> list[str]:
        """Return the command; its own cap is the attempt's budget."""
        command = [self.executable, "-p", "--output-format", "json"]
        if not any(arg.startswith(_CLAUDE_PERMISSION_FLAGS) for arg in self.args):
            command += ["--permission-mode", "acceptEdits"]
        if budget_usd and "--max-budget-usd" not in self.args:
            command += ["--max-budget-usd", budget_usd]
        return [*command, *self.args]

    def read_answer(self, exit_status: int, stdout: bytes) -> Answer:
        """Judge by the JSON that it prints; by the exit status where there is none."""
        result = _claude_result(stdout)
        if result is None:
            return _by_exit_status(exit_status)
        text = _text(result)
        reason = _claude_failure(result, text, exit_status)
        limited = reason == queue_pb2.FAILURE_REASON_RATE_LIMITED
        return Answer(
            reason=reason,
            message=text[:_MESSAGE_CHARS_MAX] + _denials(result),
            expenses=_claude_expenses(result),
            not_before_ns=_reset_ns(text) if limited else None,
        )


_CLAUDE_PERMISSION_FLAGS = (
    "--permission-mode",
    "--dangerously-skip-permissions",
    "--allow-dangerously-skip-permissions",
    "--permission-prompt-tool",
)
PRESETS = {"claude": ClaudeAgent}


def agent_of(name: str, args: Sequence[str] = ()) -> Agent:
    """Return the agent for a preset's name, or for a command of the shell.

    Raises:
        ValueError: Arguments were given for a command that takes them in itself.
    """
    if name in PRESETS:
        return PRESETS[name](tuple(args))
    if args:
        raise ValueError("--agent-args goes with a preset; write them into the command itself")
    return ShellAgent(name)


def _by_exit_status(exit_status: int) -> Answer:
    if exit_status == 0:
        return Answer(None)
    message = f"the agent exited with status {exit_status}"
    if exit_status < 0:
        message = f"the agent was ended by signal {-exit_status}"
    return Answer(queue_pb2.FAILURE_REASON_AGENT_ERROR, message)


def _claude_result(stdout: bytes) -> dict[str, Any] | None:
    """Return the last result object of the output, which may follow other lines."""
    text = stdout.decode(errors="replace").strip()
    for candidate in (text, *reversed(text.splitlines())):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        for item in reversed(found if isinstance(found, list) else [found]):
            if isinstance(item, dict) and item.get("type") == "result":
                return item
    return None


def _text(result: dict[str, Any]) -> str:
    text = result.get("result")
    if isinstance(text, str) and text.strip():
        return text.strip()
    errors = result.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(str(error) for error in errors)
    return str(result.get("subtype", ""))


_LIMIT = re.compile(r"usage limit reached|hit your .{0,40}limit|rate limit", re.IGNORECASE)
_RESET = re.compile(r"\|(\d{10})\b")
# Too many requests, and overloaded. A tuple: the answer may hold anything.
_BUSY = (429, 529)


def _claude_failure(
    result: dict[str, Any], text: str, exit_status: int
) -> queue_pb2.FailureReason | None:
    if result.get("subtype") == "error_max_budget_usd":
        return queue_pb2.FAILURE_REASON_OUT_OF_BUDGET
    failed = bool(result.get("is_error")) or exit_status != 0
    if failed and (result.get("api_error_status") in _BUSY or _LIMIT.search(text)):
        return queue_pb2.FAILURE_REASON_RATE_LIMITED
    return queue_pb2.FAILURE_REASON_AGENT_ERROR if failed else None


def _reset_ns(text: str) -> int | None:
    found = _RESET.search(text)
    return int(found[1]) * SECOND if found else None


def _denials(result: dict[str, Any]) -> str:
    denials = result.get("permission_denials")
    if not isinstance(denials, list) or not denials:
        return ""
    tools = {str(item.get("tool_name")) for item in denials if isinstance(item, dict)}
    return f"\n[{len(denials)} tool calls were denied: {', '.join(sorted(tools))}]"


def _claude_expenses(result: dict[str, Any]) -> list[Expense]:
    """Return one expense a model where the parts make the total, one for all otherwise."""
    total = usd_nanos(result.get("total_cost_usd"))
    models = result.get("modelUsage")
    parts = [
        _model_expense(name, usage)
        for name, usage in (models.items() if isinstance(models, dict) else ())
        if isinstance(usage, dict)
    ]
    known = [part.nanos for part in parts if part.nanos is not None]
    if parts and len(known) == len(parts) and abs(sum(known) - (total or 0)) <= len(parts):
        return parts
    usage = result.get("usage")
    whole = Expense(total, _whole_usage(usage if isinstance(usage, dict) else {}))
    return [whole] if total is not None or whole.usage.ByteSize() else []


def _model_expense(name: str, usage: dict[str, Any]) -> Expense:
    return Expense(
        usd_nanos(usage.get("costUSD")),
        common_pb2.Usage(
            model=name[:128],
            input_tokens=count(usage.get("inputTokens")),
            output_tokens=count(usage.get("outputTokens")),
            cache_read_tokens=count(usage.get("cacheReadInputTokens")),
            cache_write_tokens=count(usage.get("cacheCreationInputTokens")),
        ),
    )


def _whole_usage(usage: dict[str, Any]) -> common_pb2.Usage:
    return common_pb2.Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=count(usage.get("cache_creation_input_tokens")),
    )
