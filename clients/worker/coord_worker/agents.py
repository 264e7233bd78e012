"""The agents that a worker can run: any command, and presets that know what they say.

An agent reads its prompt from standard input, works in the folder that it is started in, and is
done when it exits with 0. A preset also knows its agent's flags and the answer that it prints.
"""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from coord.v1 import queue_pb2

from coord_worker.answers import Answer, Ended, without_answer
from coord_worker.presets.aider import AiderAgent
from coord_worker.presets.claude import ClaudeAgent
from coord_worker.presets.codex import CodexAgent
from coord_worker.presets.gemini import GeminiAgent
from coord_worker.presets.opencode import OpencodeAgent

# A shell ends with the first plus the number of the signal that has ended its command, 1 to 31.
_SIGNALLED, _SIGNALS = 128, 31


class Agent(Protocol):
    """Something that can be asked to do a task."""

    @property
    def executable(self) -> str:
        """What must be installed for it; empty for a command of the shell."""

    @property
    def provider(self) -> str:
        """Whose rate limits it is under; empty where that is not known."""

    def command(self, budget_usd: str) -> list[str]:
        """Return the arguments to run it with; it may spend `budget_usd`, where that is set."""

    def read_answer(self, ended: Ended) -> Answer:
        """Judge a run by its exit status and what it printed. Never raises."""


@dataclass(frozen=True)
class ShellAgent:
    """Any command, run by the shell."""

    line: str
    executable: str = ""
    provider: str = ""

    def command(self, budget_usd: str) -> list[str]:
        """Return the shell's arguments; the command finds its budget in COORD_BUDGET_USD."""
        del budget_usd
        return ["/bin/sh", "-c", self.line]

    def read_answer(self, ended: Ended) -> Answer:
        """Judge by the exit status alone."""
        status = ended.exit_status
        if _SIGNALLED < status <= _SIGNALLED + _SIGNALS:
            # The shell was not the one that the signal has ended.
            return without_answer(replace(ended, exit_status=_SIGNALLED - status))
        if status <= 0:
            return without_answer(ended)
        last = ended.last_line()
        message = f"the agent exited with status {status}{last and f': {last}'}"
        return Answer(queue_pb2.FAILURE_REASON_AGENT_ERROR, message)


PRESETS: Mapping[str, Callable[[Sequence[str]], Agent]] = {
    "aider": AiderAgent,
    "claude": ClaudeAgent,
    "codex": CodexAgent,
    "gemini": GeminiAgent,
    "opencode": OpencodeAgent,
}


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


def missing(agent: Agent, folder: Path) -> str:
    """Return the command of an agent that cannot be found from a folder; empty where it can be."""
    if agent.executable:
        return "" if shutil.which(agent.executable) else agent.executable
    line = agent.line if isinstance(agent, ShellAgent) else ""
    try:
        first = shlex.split(line)[0]
    except (ValueError, IndexError):
        return ""
    if any(character in first for character in "=$`(){};&|<>*?~!"):
        return ""
    command = ["/bin/sh", "-c", 'command -v -- "$1" >/dev/null', "sh", first]
    found = subprocess.run(command, cwd=folder, check=False)  # noqa: S603 - nothing is run by it.
    return "" if found.returncode == 0 else first
