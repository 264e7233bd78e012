"""What is in worktrees just now, for comparison alone.

A snapshot keeps what it reads; a glance is only to be quick. Where nothing but files has changed
since the last full reading, two runs of git tell: the index of that reading knows the rest.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import structlog
from coord.v1 import common_pb2

from coord_integrator import names
from coord_integrator.footprints import Footprints
from coord_integrator.git import Git, GitError, join, split
from coord_integrator.matrix import Head
from coord_integrator.repository import Repository
from coord_integrator.snapshot import Snapshots

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Known:
    """What a full reading has found, beside the files.

    Attributes:
        standing: Attempt, HEAD, and what tells whether the worktree's own index is the same.
        head_tree: The tree of HEAD.
        files: Runs git on the files, with an index of the radar's own.
    """

    standing: object
    head_tree: str
    files: Git


class Glances:
    """Looks at worktrees.

    Args:
        repository: Coord's and the user's repository.
        scratch: Where to put what is read.
        footprints: Compares trees in it.
    """

    def __init__(self, repository: Repository, scratch: Repository, footprints: Footprints) -> None:
        self._repository = repository
        self._scratch = scratch
        self._footprints = footprints
        self._snapshots = Snapshots(scratch)
        self._known: dict[str, _Known] = {}
        self._heads: dict[str, Head] = {}

    async def open(self) -> None:
        """Make ready."""
        await self._snapshots.open()

    async def look(self, worker: str, folder: Path, attempt: common_pb2.AttemptRef) -> Head | None:
        """Return what is in a worktree; nothing in it changes.

        Args:
            worker: Whose it is.
            folder: Its top folder. Nobody may reset it meanwhile.
            attempt: The attempt that it serves.

        Returns:
            None where it cannot be read, and could not before in this attempt.
        """
        try:
            return await self._look(worker, folder, attempt)
        except (GitError, OSError) as error:
            log.info("a worktree cannot be looked at", worker=worker, why=str(error))
            self._known.pop(worker, None)
            last = self._heads.get(worker)
            return last if last and last.attempt == attempt else None

    async def matters(self, worker: str, paths: Collection[Path]) -> bool:
        """Tell whether git does not ignore all of some paths in a worktree."""
        known = self._known.get(worker)
        if known is None:
            return True
        names = join([str(path.relative_to(known.files.folder)) for path in paths])
        check = ("check-ignore", "-z", "--stdin")
        try:
            answer = await known.files.run(*check, stdin=names, ok=(0, 1))
        except (GitError, OSError):
            return True
        return len(split(answer.stdout)) < len(paths)

    def forget(self, worker: str) -> None:
        """Forget a worktree that is no more."""
        self._known.pop(worker, None)
        self._heads.pop(worker, None)

    async def _look(self, worker: str, folder: Path, attempt: common_pb2.AttemptRef) -> Head:
        head, git_folder = await self._where(folder)
        standing = (attempt.fencing_token, head, *_stat(git_folder / "index"))
        known = self._known.get(worker)
        tree = None
        if known is not None and known.standing == standing:
            tree = await self._reread(known)
        if tree is None or known is None:
            known = await self._read(worker, folder, head, standing)
            tree = await self._snapshots.tree_of(worker, folder, head)
            self._known[worker] = known
        last = self._heads.get(worker)
        if last is None or last.standing != (head, tree) or last.attempt != attempt:
            commit = await self._commit(head, tree) if tree != known.head_tree else head
            last = Head(worker, head, commit, tree, attempt)
            self._heads[worker] = last
        return last

    async def _where(self, folder: Path) -> tuple[str, Path]:
        """Return the HEAD of a worktree and its own git folder."""
        git = self._repository.user.at(folder)
        git = git.with_variables(GIT_CEILING_DIRECTORIES=str(folder.parent))
        asked = ("--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "HEAD")
        top, git_folder, head = (await git.text("rev-parse", *asked)).split("\n")
        if Path(top) != folder:
            raise GitError(("rev-parse",), 1, f"{top} is another checkout")
        return head, Path(git_folder)

    async def _read(self, worker: str, folder: Path, head: str, standing: object) -> _Known:
        """Prepare the reading of a worktree that stands elsewhere than before."""
        own = self._repository.own
        if (await own.run("cat-file", "-e", head, ok=(0, 1, 128))).status:
            await self._repository.bring(head, f"{names.HEADS}/{names.component(worker)}")
        await asyncio.to_thread(self._adopt, worker)
        files = await self._snapshots.files(worker, folder)
        return _Known(standing, await self._scratch.tree(head), files)

    def _adopt(self, worker: str) -> None:
        """Begin with the index of the snapshots, so that files are read only if they changed."""
        index = self._repository.folder / "indexes" / names.component(worker)
        if index.is_file():
            self._snapshots.adopt(worker, index)

    async def _reread(self, known: _Known) -> str | None:
        """Return the tree of a worktree's files; None where a full reading has to tell."""
        try:
            await known.files.run("add", "-A", "--", ".")
            tree = await known.files.text("write-tree")
        except GitError:
            return None
        trees = (known.head_tree, tree)
        return None if (await self._footprints.read([trees]))[trees].links else tree

    async def _commit(self, head: str, tree: str) -> str:
        return await self._scratch.own.text("commit-tree", tree, "-p", head, "-m", "glance")


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        about = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return about.st_mtime_ns, about.st_size, about.st_ino
