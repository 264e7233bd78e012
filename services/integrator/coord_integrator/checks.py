"""Runs the operator's check on exactly one tree.

The check runs in a checkout of Coord's own repository that holds the tree's files and nothing else.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog

from coord_integrator.commands import CommandResult, run_command
from coord_integrator.git import GitError
from coord_integrator.repository import Repository
from coord_integrator.worktrees import delete_tree

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Checker:
    """Runs the check.

    Attributes:
        repository: Where the trees are.
        command: What the operator's shell runs; empty: nothing.
        timeout_s: Longest time of a run, in seconds.
    """

    repository: Repository
    command: str
    timeout_s: float

    @property
    def folder(self) -> Path:
        """Where the check runs."""
        return self.repository.folder / "check"

    async def run(self, commit: str) -> CommandResult:
        """Run the check on a commit of Coord's own repository.

        Raises:
            GitError: where the tree cannot be checked out.
        """
        try:
            await self._clean_to(commit)
        except (GitError, OSError) as error:
            log.warning("check folder is made anew", why=str(error))
            await self._make_anew(commit)
        return await run_command(self.command, self.folder, self.repository.folder, self.timeout_s)

    async def _clean_to(self, commit: str) -> None:
        git = self.repository.own.at(self.folder).with_variables(
            GIT_DIR=str(self.folder / ".git"), GIT_WORK_TREE=str(self.folder)
        )
        await git.run("checkout", "-q", "-f", "--detach", commit)
        await git.run("clean", "-ffdxq")
        left = await git.text("status", "--porcelain", "--ignored", "--untracked-files=all")
        head = await git.text("rev-parse", "HEAD^{commit}")
        if left or head != commit:
            raise GitError(("status",), 1, f"the check folder is not clean: {left[:500]}")

    async def _make_anew(self, commit: str) -> None:
        own = self.repository.own
        if self.folder.exists():
            await asyncio.to_thread(delete_tree, self.folder)
        await own.run("worktree", "prune", "--expire=now")
        await own.run("worktree", "add", "-q", "-f", "-f", "--detach", str(self.folder), commit)
        await self._clean_to(commit)
