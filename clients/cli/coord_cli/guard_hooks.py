"""The guard's hooks: for Claude Code, and for git before those that a repository has itself."""

import json
import py_compile
import shlex
import sys
from pathlib import Path

from coord import guard
from coord_host.places import Place

from coord_cli.git import git

# Those that git runs on the side of who commits.
_HOOKS = (
    "applypatch-msg",
    "commit-msg",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-merge",
    "post-rewrite",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
)
_SCRIPT = """#!/bin/sh
# Asks Coord's guard before a commit, then runs the repository's own hook of this name.
name=${{0##*/}}
top=$(git rev-parse --show-toplevel)
if [ "$name" = pre-commit ] && [ "$top" = "${{COORD_WORKTREE:-$top}}" ]; then
    git diff --cached --name-only --no-renames -z | {guard} --staged || exit 1
fi
hooks=$(GIT_CONFIG_COUNT=0 git rev-parse --git-path hooks)
[ "$hooks" = {hooks} ] && hooks=$(git rev-parse --git-common-dir)/hooks
[ -x "$hooks/$name" ] || exit 0
exec "$hooks/$name" "$@"
"""
# What Claude Code asks before; a shell may edit as well, so it is held at least by a stop.
_TOOLS = "Edit|MultiEdit|Write|NotebookEdit|Bash"


def guard_folder(place: Place) -> Path:
    """Return the folder of a project's hooks; its file, without them, is beside it."""
    return place.state / "guard"


def guard_command(place: Place) -> list[str]:
    """Return the command that asks the guard; paths, or how it is asked, go behind."""
    folder = guard_folder(place)
    compiled, told = folder / "guard.pyc", folder.with_suffix(".json")
    return [sys.executable, "-I", "-S", str(compiled), "--file", str(told)]


def make_hooks(place: Place) -> None:
    """Write the guard and its hooks into the state folder; nothing in the repository changes."""
    folder = guard_folder(place)
    (folder / "hooks").mkdir(parents=True, exist_ok=True)
    # Compiled, since an interpreter compiles a script anew each time.
    py_compile.compile(guard.__file__, cfile=str(folder / "guard.pyc"), doraise=True)
    command = shlex.join(guard_command(place))
    hooks = folder / "hooks"
    script = _SCRIPT.format(guard=command, hooks=shlex.quote(str(hooks)))
    for name in {*_HOOKS, *_others(place)}:
        _write(hooks / name, script)
        (hooks / name).chmod(0o755)
    _write(folder / "claude.json", json.dumps(_claude_settings(f"{command} --claude"), indent=1))


def _claude_settings(command: str) -> dict[str, object]:
    hook = {"type": "command", "command": command, "timeout": 10}
    return {"hooks": {"PreToolUse": [{"matcher": _TOOLS, "hooks": [hook]}]}}


def _others(place: Place) -> list[str]:
    """Return the names of the hooks that the repository has."""
    if place.repo is None:
        return []
    folder = place.repo / git(place.repo, "rev-parse", "--git-common-dir") / "hooks"
    names = [path.name for path in folder.glob("*") if path.is_file()]
    return [name for name in names if "." not in name]


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: a hook may be about to run."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)
