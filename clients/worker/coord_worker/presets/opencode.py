"""opencode without its terminal: `opencode run --format json`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.v1 import common_pb2

from coord_worker.answers import Answer, Ended, as_object, failure, success, without_answer
from coord_worker.money import Expense, count, usd_nanos
from coord_worker.presets.arguments import provider_of, value_of


@dataclass(frozen=True)
class OpencodeAgent:
    """Runs opencode.

    What it may do without being asked, its own settings say: by default all within its folder.
    It has no cap of its own.
    """

    args: Sequence[str] = ()
    executable: str = "opencode"

    @property
    def provider(self) -> str:
        """Whose limits it is under: the model's provider, where an argument names one."""
        return provider_of(self._model)

    def command(self, budget_usd: str) -> list[str]:
        """Return the command, which reads its prompt from standard input."""
        del budget_usd
        return [self.executable, "run", "--format", "json", *self.args]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the events that it prints: steps have costs, an error is its end."""
        texts, error, expenses = [], None, []
        for event in ended.objects():
            part = as_object(event.get("part"))
            match event.get("type"):
                case "text":
                    texts.append(str(part.get("text", "")))
                case "step_finish":
                    expenses.append(_expense(part, self._model))
                case "error":
                    error = as_object(event.get("error"))
        if error is not None:
            data = as_object(error.get("data"))
            text = f"{data.get('message') or error.get('name') or ''}{_retry_after(data)}"
            return failure(text, ended, status=data.get("statusCode"), expenses=expenses)
        if not (texts or expenses):
            return without_answer(ended)
        last = texts[-1] if texts else ""
        if ended.exit_status != 0:
            return failure(last, ended, expenses=expenses)
        return success(last, expenses)

    @property
    def _model(self) -> str:
        return value_of(self.args, "-m", "--model")


def _retry_after(data: dict[str, Any]) -> str:
    seconds = as_object(data.get("responseHeaders")).get("retry-after")
    return f" (retry-after: {seconds})" if seconds else ""


def _expense(part: dict[str, Any], model: str) -> Expense:
    tokens = as_object(part.get("tokens"))
    cache = as_object(tokens.get("cache"))
    return Expense(
        usd_nanos(part.get("cost")),
        common_pb2.Usage(
            model=model[:128],
            input_tokens=count(tokens.get("input")),
            output_tokens=count(tokens.get("output")) + count(tokens.get("reasoning")),
            cache_read_tokens=count(cache.get("read")),
            cache_write_tokens=count(cache.get("write")),
        ),
    )
