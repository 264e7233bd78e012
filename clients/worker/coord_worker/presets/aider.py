"""Aider without its terminal: `aider --yes-always --message-file`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coord.v1 import common_pb2

from coord_worker.answers import Answer, Ended, failure, success, without_answer
from coord_worker.money import Expense, usd_nanos
from coord_worker.presets.arguments import provider_of, value_of

_FLAGS = (
    "--yes-always",
    "--no-auto-commits",
    "--no-gitignore",
    "--no-analytics",
    "--no-check-update",
    "--no-show-release-notes",
    "--no-pretty",
    "--no-stream",
    "--no-fancy-input",
    "--chat-history-file=/dev/null",
    "--input-history-file=/dev/null",
)
# Its index of the repository is its own affair and no part of the change.
_RUN = '"$@" --message-file "$COORD_PROMPT_FILE"; s=$?; rm -rf .aider.tags.cache.v*; exit $s'

_SPENT = re.compile(
    r"^Tokens: ([\d.,]+[kM]?) sent,(?: ([\d.,]+[kM]?) cache write,)?"
    r"(?: ([\d.,]+[kM]?) cache hit,)? ([\d.,]+[kM]?) received\."
    r"(?: Cost: \$([\d.,]+) message)?",
    re.MULTILINE,
)
_SIZES = {"k": 1_000, "M": 1_000_000}
_EDITED = re.compile(r"^Applied edit to ", re.MULTILINE)
# It ends with 0 whatever happens, and tells of errors under these names.
_ERROR = re.compile(r"^(?:litellm\.\w+Error:|Empty response received from LLM)", re.MULTILINE)


@dataclass(frozen=True)
class AiderAgent:
    """Runs Aider, which asks nobody and leaves its edits uncommitted. It has no cap of its own."""

    args: Sequence[str] = ()
    executable: str = "aider"

    @property
    def provider(self) -> str:
        """Whose limits it is under: the model's provider, where an argument names a model."""
        return provider_of(self._model)

    def command(self, budget_usd: str) -> list[str]:
        """Return the command, which reads its prompt from the file that the worker has written."""
        del budget_usd
        return ["/bin/sh", "-c", _RUN, "aider", self.executable, *_FLAGS, *self.args]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the end of what it prints: it ends with 0 also where it could do nothing."""
        text = ended.stdout.decode(errors="replace")
        expenses = [self._expense(found) for found in _SPENT.finditer(text)]
        errors = list(_ERROR.finditer(text))
        after = text[errors[-1].start() :] if errors else ""
        # It goes on by itself after some errors.
        if errors and not _EDITED.search(after):
            return failure(" ".join(after.split()), ended, expenses=expenses)
        if ended.exit_status != 0:
            return without_answer(ended, expenses)
        return success("", expenses)

    @property
    def _model(self) -> str:
        return value_of(self.args, "--model")

    def _expense(self, spent: re.Match[str]) -> Expense:
        sent, written, read, received, cost = spent.groups()
        usage = common_pb2.Usage(
            model=self._model[:128],
            input_tokens=_tokens(sent),
            output_tokens=_tokens(received),
            cache_read_tokens=_tokens(read),
            cache_write_tokens=_tokens(written),
        )
        return Expense(usd_nanos(cost.replace(",", "")) if cost else None, usage)


def _tokens(text: str | None) -> int:
    """Return a number as it writes them, such as `1.5k`."""
    if not text:
        return 0
    size = _SIZES.get(text[-1], 1)
    try:
        return round(float(text.rstrip("kM").replace(",", "")) * size)
    except ValueError:
        return 0
