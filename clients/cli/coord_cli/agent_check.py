"""Whether an agent can be run where it will be: in a worktree, which has only what is committed."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coord_host.endpoint import find
from coord_host.overrides import Overrides
from coord_host.places import Place
from coord_integrator.provision import INCLUDE
from coord_worker.agents import ShellAgent, agent_of, missing

from coord_cli.command import UsageProblem
from coord_cli.git import git, git_succeeds

_EXECUTABLE = "100755"
_INTERPRETERS = frozenset(
    {"bash", "dash", "node", "perl", "python", "python3", "ruby", "sh", "zsh"}
)


@dataclass(frozen=True)
class WorktreeStart:
    """What new worktrees hold.

    Attributes:
        place: The project.
        overrides: The settings that its services are to have, by section.
    """

    place: Place
    overrides: Overrides = field(default_factory=dict)

    @property
    def repo(self) -> Path | None:
        """The repository; None where there is none."""
        return self.place.repo

    @property
    def target(self) -> str:
        """The branch that they start from; empty for that of HEAD."""
        return self._setting("target")

    @property
    def setup(self) -> str:
        """The command that prepares them, which may bring any file; empty for none."""
        return self._setting("setup")

    def _setting(self, key: str) -> str:
        running = find(self.place)
        given = {} if running is None else running.overrides.get("integrator", {})
        asked = self.overrides.get("integrator", {})
        known = asked.get(key) or given.get(key)
        return known or os.environ.get(f"COORD_INTEGRATOR_{key.upper()}", "")

    def mode(self, path: str) -> str:
        """Return git's mode of a committed file; empty where it is not committed."""
        if self.repo is None:
            return ""
        branch = self.target or git(self.repo, "symbolic-ref", "--quiet", "--short", "HEAD")
        for commit in (f"refs/heads/coord/{branch}", branch or "HEAD"):
            found = git(self.repo, "ls-tree", "--full-tree", commit, "--", path)
            if found:
                return found.split(maxsplit=1)[0]
        return ""


def check_agent(name: str, args: Sequence[str], start: WorktreeStart) -> None:
    """Check that an agent is there.

    Raises:
        UsageProblem: It is not, or not where its worktree will be.
    """
    if not name.strip():
        raise UsageProblem("no agent: name one with --agent, such as --agent claude or a command")
    try:
        agent = agent_of(name, args)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    path = _relative_path(name) if isinstance(agent, ShellAgent) else ""
    if path and start.mode(path) == _EXECUTABLE:
        return
    folder = start.repo or Path()
    command = missing(agent, folder)
    if command:
        raise UsageProblem(_absence(name, command, folder, is_preset=bool(agent.executable)))
    script = path or (_script(name) if isinstance(agent, ShellAgent) else "")
    if script and start.repo is not None and not start.setup:
        _refuse_uncommitted(f"the agent {name!r}", script, start, runs_itself=bool(path))


def check_setup(start: WorktreeStart) -> None:
    """Check that the script that the set-up command names is there.

    Raises:
        UsageProblem: It is not committed.
    """
    path = _relative_path(start.setup)
    script = path or _script(start.setup)
    if script and start.repo is not None:
        _refuse_uncommitted(f"the set-up {start.setup!r}", script, start, runs_itself=bool(path))


def _absence(name: str, command: str, folder: Path, *, is_preset: bool) -> str:
    if is_preset:
        return (
            f"the agent {name!r} needs the command {command!r}, which is not installed"
            " or not on the PATH"
        )
    if (folder / name).is_file():
        return (
            f"the shell takes {command!r} of {name!r} for the command; quote the path for it:"
            f" --agent {shlex.quote(shlex.quote(name))}"
        )
    return f"the agent command {name!r} is not there; check --agent"


def _relative_path(line: str) -> str:
    """Return the path of a script that a command names from its folder; empty for others."""
    try:
        first = shlex.split(line)[0]
    except (ValueError, IndexError):
        return ""
    is_path = "/" in first and not first.startswith("/") and "$" not in first
    return os.path.normpath(first) if is_path and "=" not in first else ""


def _script(line: str) -> str:
    """Return the path of a script that a command gives to an interpreter; empty for others."""
    try:
        interpreter, script, *_ = shlex.split(line)
    except ValueError:
        return ""
    is_path = script[:1] not in {"", "-", "/"} and not set(script) & set("$*<>|&;(")
    return os.path.normpath(script) if is_path and interpreter in _INTERPRETERS else ""


def _refuse_uncommitted(what: str, path: str, start: WorktreeStart, *, runs_itself: bool) -> None:
    mode = start.mode(path)
    is_there = mode == _EXECUTABLE if runs_itself else bool(mode)
    if is_there or _is_included(start.repo or Path(), path):
        return
    lack = "is not committed as executable" if mode else "is not committed"
    where = f" on {start.target}" if start.target else ""
    raise UsageProblem(
        f"{what}: {path} {lack}{where}, and worktrees have only what is committed; commit it, or"
        " give an absolute path"
    )


def _is_included(repo: Path, path: str) -> bool:
    """Tell whether `.worktreeinclude` brings an ignored file along."""
    if not (repo / INCLUDE).is_file():
        return False
    named = git(repo, "ls-files", "-o", "-i", f"--exclude-from={INCLUDE}", "--", path)
    return bool(named) and git_succeeds(repo, "check-ignore", "-q", path)
