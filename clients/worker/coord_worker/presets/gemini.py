"""Gemini CLI without its terminal: `gemini --output-format json`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.v1 import common_pb2

from coord_worker.answers import (
    Answer,
    Ended,
    as_object,
    failure,
    parse_json,
    success,
    without_answer,
)
from coord_worker.money import Expense, count
from coord_worker.presets.arguments import has_flag

_PERMISSION_FLAGS = ("--approval-mode", "-y", "--yolo", "--allowed-tools", "--policy")


@dataclass(frozen=True)
class GeminiAgent:
    """Runs Gemini CLI.

    File edits are allowed, as nobody is there to be asked; other tools as its own settings and
    `args` say. It has no cap of its own, and tells tokens, but no money.
    """

    args: Sequence[str] = ()
    executable: str = "gemini"
    provider: str = "google"

    def command(self, budget_usd: str) -> list[str]:
        """Return the command; a worktree is a folder that its user has chosen to trust."""
        del budget_usd
        command = [self.executable, "--output-format", "json", "--skip-trust"]
        if not has_flag(self.args, *_PERMISSION_FLAGS):
            command += ["--approval-mode", "auto_edit"]
        return [*command, *self.args]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the JSON at the end of its output, or of its errors where it has failed."""
        result = _last_object(ended.stdout) or _last_object(ended.stderr)
        if result is None:
            return without_answer(ended)
        models = as_object(as_object(result.get("stats")).get("models"))
        expenses = [
            expense
            for name, model in models.items()
            if (
                expense := _expense(name, as_object(as_object(model).get("tokens")))
            ).usage.ByteSize()
        ]
        error = as_object(result.get("error"))
        if not error and ended.exit_status == 0:
            return success(str(result.get("response", "")), expenses)
        text = str(error.get("message") or result.get("response") or "")
        return failure(text, ended, status=error.get("code"), expenses=expenses)


def _last_object(output: bytes) -> dict[str, Any] | None:
    """Return the object with which an output ends, which begins a line."""
    text = output.decode(errors="replace").strip()
    begin = text.rfind("\n{")
    found = parse_json(text if begin < 0 else text[begin:])
    return found if isinstance(found, dict) else None


def _expense(name: str, tokens: dict[str, Any]) -> Expense:
    usage = common_pb2.Usage(
        input_tokens=count(tokens.get("input")),
        # What it thinks is output, too, and is told apart.
        output_tokens=count(tokens.get("candidates")) + count(tokens.get("thoughts")),
        cache_read_tokens=count(tokens.get("cached")),
    )
    if usage.ByteSize():
        usage.model = name[:128]
    return Expense(None, usage)
