"""Runs the operator's check on exactly one tree.

Each run has a new folder with the tree's files and nothing else, whatever an earlier check has left
or has told git. The folder is a throwaway repository of its own, since many tools ask git about the
files that they work on; it only borrows the objects of Coord's.
"""

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from coord_integrator.commands import CommandResult, run_command
from coord_integrator.git import GitError
from coord_integrator.repository import Repository
from coord_integrator.worktrees import delete_tree

# Where the tools are found that a check runs.
_TOOL_VARIABLES = ("PATH", "PYTHONPATH", "NODE_PATH", "VIRTUAL_ENV")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Checker:
    """Runs the check.

    Attributes:
        repository: Where the trees are.
        command: What the operator's shell runs; empty: nothing.
        timeout_s: Longest time of a run, in seconds.
        environment: Digest of what else the outcome may depend on.
    """

    repository: Repository
    command: str
    timeout_s: float
    environment: str = ""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def run(self, commit: str) -> CommandResult:
        """Run the check on a commit of Coord's own repository.

        A tree that git cannot check out fails it.

        Raises:
            OSError: where there cannot be a folder for it.
        """
        marker = self.repository.folder
        async with self._new_folder() as folder:
            try:
                await self._lay_out(folder, commit)
            except GitError as error:
                # As with a file that is not in the encoding that its attributes name. Where git
                # itself is broken, the target fares no better, and no change is blamed.
                return CommandResult(error.status, f"git cannot check out this tree: {error}\n")
            return await run_command(self.command, folder, marker, self.timeout_s)

    async def clear(self) -> None:
        """Remove the folders that a kill has left."""
        await asyncio.to_thread(_remove, self._root)

    @property
    def _root(self) -> Path:
        return self.repository.folder / "check"

    @asynccontextmanager
    async def _new_folder(self) -> AsyncIterator[Path]:
        """Make a folder that was never there before, and remove it with what it holds then."""
        folder = self._root / str(next(self._numbers))
        while folder.exists():
            folder = self._root / str(next(self._numbers))
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            await asyncio.to_thread(_remove, folder)
            with suppress(OSError):  # Another run has its folder there.
                self._root.rmdir()

    async def _lay_out(self, folder: Path, commit: str) -> None:
        own = self.repository.own
        inside = own.at(folder).with_variables(
            GIT_DIR=str(folder / ".git"), GIT_WORK_TREE=str(folder)
        )
        algorithm = await own.text("rev-parse", "--show-object-format")
        await inside.run("init", "-q", "--template=", f"--object-format={algorithm}")
        borrowed = folder / ".git" / "objects" / "info" / "alternates"
        borrowed.write_text(f"{own.folder / 'objects'}\n")
        self.repository.copy_info(folder / ".git" / "info")
        await inside.run("update-ref", "--no-deref", "HEAD", commit)
        await inside.run("read-tree", "--reset", "-u", commit)


def environment_digest() -> str:
    """Return a digest of what the outcome of a check may depend on beside tree and command."""
    system = os.uname()
    seen = [system.sysname, system.release, system.machine]
    seen += [os.environ.get(name, "") for name in _TOOL_VARIABLES]
    return hashlib.sha256("\0".join(seen).encode(errors="surrogateescape")).hexdigest()


def _remove(folder: Path) -> None:
    """Remove a folder; where that fails, what is left is in nobody's way."""
    try:
        if folder.exists():
            delete_tree(folder)
    except OSError as error:
        log.warning("a folder of a check cannot be removed", folder=str(folder), why=str(error))
