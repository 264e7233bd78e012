"""What a new worktree needs beside git's files: ignored ones such as `.env`, and a set-up."""

import asyncio
import os
import shutil
from pathlib import Path

import structlog

from coord_integrator.commands import CommandResult, run_command
from coord_integrator.git import join, split
from coord_integrator.repository import Repository

INCLUDE = ".worktreeinclude"
_NAMES_SHOWN = 10

log = structlog.get_logger(__name__)


async def copy_included(repository: Repository, worktree: Path) -> None:
    """Copy the ignored files that `.worktreeinclude` names from the user's checkout.

    The file has gitignore syntax. Folders are copied whole, with their links and modes. What is in
    the worktree already is left as it is.
    """
    top = repository.top
    if top is None or not (top / INCLUDE).is_file():
        return
    listing = ("ls-files", "-z", "-o", "-i", f"--exclude-from={INCLUDE}")
    named = await repository.user.items(*listing)
    check = ("check-ignore", "-z", "--stdin")
    ignored = await repository.user.run(*check, stdin=join(named), ok=(0, 1))
    copied = await asyncio.to_thread(_copy, top, worktree, split(ignored.stdout))
    if copied:
        shown = copied[:_NAMES_SHOWN]
        log.info("ignored files copied", worktree=str(worktree), files=len(copied), first=shown)


async def run_setup(
    repository: Repository, worktree: Path, command: str, timeout_s: float
) -> CommandResult:
    """Run the operator's set-up command in a worktree."""
    return await run_command(command, worktree, repository.folder, timeout_s)


def _copy(top: Path, worktree: Path, paths: list[str]) -> list[str]:
    """Copy files, links as links, and repositories as folders; return what was not there before."""
    copied = []
    for path in paths:
        source, target = top / path, worktree / path
        if os.path.lexists(target) or not os.path.lexists(source):
            continue
        if not target.parent.resolve().is_relative_to(worktree):
            continue  # A link in the worktree leads out of it.
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
        copied.append(path)
    return copied
