"""Claude Code without its terminal: `claude -p --output-format json`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.v1 import common_pb2, queue_pb2

from coord_worker.answers import (
    Answer,
    Ended,
    as_object,
    failure,
    parse_json,
    success,
    without_answer,
)
from coord_worker.money import Expense, count, usd_nanos
from coord_worker.presets.arguments import has_flag

_PERMISSION_FLAGS = (
    "--permission-mode",
    "--dangerously-skip-permissions",
    "--allow-dangerously-skip-permissions",
    "--permission-prompt-tool",
)


@dataclass(frozen=True)
class ClaudeAgent:
    """Runs Claude Code.

    File edits are allowed, as nobody is there to be asked; other tools as its own settings and
    `args` say.
    """

    args: Sequence[str] = ()
    executable: str = "claude"
    provider: str = "anthropic"

    def command(self, budget_usd: str) -> list[str]:
        """Return the command; its own cap is the attempt's budget."""
        command = [self.executable, "-p", "--output-format", "json"]
        if not has_flag(self.args, *_PERMISSION_FLAGS):
            command += ["--permission-mode", "acceptEdits"]
        if budget_usd and not has_flag(self.args, "--max-budget-usd"):
            command += ["--max-budget-usd", budget_usd]
        return [*command, *self.args]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the JSON that it prints; by the exit status where there is none."""
        result = _result(ended.stdout)
        if result is None:
            return without_answer(ended)
        text, expenses = _text(result), _expenses(result)
        if result.get("subtype") == "error_max_budget_usd":
            return Answer(queue_pb2.FAILURE_REASON_OUT_OF_BUDGET, text, expenses)
        if not result.get("is_error") and ended.exit_status == 0:
            return success(text + _denials(result), expenses)
        if result.get("stop_reason") == "refusal":
            return Answer(queue_pb2.FAILURE_REASON_REFUSED, text, expenses)
        status = result.get("api_error_status")
        return failure(text + _denials(result), ended, status=status, expenses=expenses)


def _result(stdout: bytes) -> dict[str, Any] | None:
    """Return the last result object of the output, which may follow other lines."""
    text = stdout.decode(errors="replace").strip()
    for candidate in (text, *reversed(text.splitlines())):
        found = parse_json(candidate)
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


def _denials(result: dict[str, Any]) -> str:
    denials = result.get("permission_denials")
    if not isinstance(denials, list) or not denials:
        return ""
    tools = {str(item.get("tool_name")) for item in denials if isinstance(item, dict)}
    return f"\n[{len(denials)} tool calls were denied: {', '.join(sorted(tools))}]"


def _expenses(result: dict[str, Any]) -> list[Expense]:
    """Return one expense a model where the parts make the total, one for all otherwise."""
    total = usd_nanos(result.get("total_cost_usd"))
    parts = [
        _model_expense(name, usage)
        for name, usage in as_object(result.get("modelUsage")).items()
        if isinstance(usage, dict)
    ]
    known = [part.nanos for part in parts if part.nanos is not None]
    if parts and len(known) == len(parts) and abs(sum(known) - (total or 0)) <= len(parts):
        return parts
    whole = Expense(total, _whole_usage(as_object(result.get("usage"))))
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
