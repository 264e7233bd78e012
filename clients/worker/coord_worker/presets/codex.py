"""Codex without its terminal: `codex exec --json -`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.v1 import common_pb2

from coord_worker.answers import Answer, Ended, as_object, failure, success, without_answer
from coord_worker.money import Expense, count
from coord_worker.presets.arguments import has_flag, value_of

_SANDBOX_FLAGS = (
    "-s",
    "--sandbox",
    "--full-auto",
    "--approve-for-me",
    "--dangerously-bypass-approvals-and-sandbox",
)


@dataclass(frozen=True)
class CodexAgent:
    """Runs Codex.

    It may write within its worktree and run commands in its sandbox; it has no cap of its own, and
    tells tokens, but no money.
    """

    args: Sequence[str] = ()
    executable: str = "codex"
    provider: str = "openai"

    def command(self, budget_usd: str) -> list[str]:
        """Return the command, which reads its prompt from standard input."""
        del budget_usd
        command = [self.executable, "exec", "--json"]
        if not has_flag(self.args, *_SANDBOX_FLAGS):
            command += ["--sandbox", "workspace-write"]
        return [*command, *self.args, "-"]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the last turn among the events that it prints."""
        text, over, usages = "", None, []
        for event in ended.objects():
            kind, item = event.get("type"), as_object(event.get("item"))
            if kind == "item.completed" and item.get("type") == "agent_message":
                text = str(item.get("text"))
            elif kind in ("turn.completed", "turn.failed"):
                over = event
                usages.append(as_object(event.get("usage")))
        model = value_of(self.args, "-m", "--model")
        expenses = [one for usage in usages if (one := _expense(usage, model)).usage.input_tokens]
        if over is None:
            return without_answer(ended, expenses)
        if over["type"] == "turn.failed":
            return failure(str(as_object(over.get("error")).get("message", "")), ended)
        if ended.exit_status != 0:
            return failure(text, ended, expenses=expenses)
        return success(text, expenses)


def _expense(usage: dict[str, Any], model: str) -> Expense:
    cached = count(usage.get("cached_input_tokens"))
    return Expense(
        None,
        common_pb2.Usage(
            model=model[:128],
            # Its input includes what came from the cache.
            input_tokens=max(count(usage.get("input_tokens")) - cached, 0),
            output_tokens=count(usage.get("output_tokens")),
            cache_read_tokens=cached,
            cache_write_tokens=count(usage.get("cache_write_input_tokens")),
        ),
    )
