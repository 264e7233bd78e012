"""Asks git about the user's repository. What changes worktrees is the integrator's to do."""

import os
import subprocess
from pathlib import Path

# What a hook does is for the user's own commands.
_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


def run_git(folder: Path, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run git in a folder, without the caller's `GIT_*` and without hooks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(  # noqa: S603 - the arguments are ours.
        ("git", *_QUIET, *arguments),  # noqa: S607 - the user's own git.
        cwd=folder,
        env=kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        input=stdin,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
    )


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints, without the line end; empty where it refuses."""
    done = run_git(folder, *arguments)
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""


def git_items(folder: Path, *arguments: str) -> list[str]:
    """Return the NUL-terminated items that git prints."""
    return git(folder, *arguments).split("\0")[:-1]


def git_succeeds(folder: Path, *arguments: str) -> bool:
    """Tell whether git exits with 0."""
    return run_git(folder, *arguments).returncode == 0
