"""What is in worktrees just now, for comparison alone.

A snapshot keeps what it reads; a glance is only to be quick. Where it is known which files have
changed since the last one, only those are read.
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
from coord_integrator.git_pipe import GitPipe
from coord_integrator.matrix import Head
from coord_integrator.repository import Repository
from coord_integrator.snapshot import Snapshots

_WRITE_COMMIT = ("hash-object", "-t", "commit", "-w", "--no-filters", "--stdin-paths")
_COMMIT = """\
tree {tree}
parent {parent}
author coord <coord@localhost> 0 +0000
committer coord <coord@localhost> 0 +0000

glance
"""
_RULES = (".gitattributes", ".gitignore", ".gitmodules")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Known:
    """What a reading of all files has found, beside the files.

    Attributes:
        token: The attempt's.
        head: The commit that the worktree stands on.
        head_tree: Its files.
        git_folder: The worktree's own git folder.
        index: What tells whether the worktree's own index is the same.
        files: Runs git on the files, with an index of the radar's own.
    """

    token: int
    head: str
    head_tree: str
    git_folder: Path
    index: tuple[int, int, int]
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
        self._commits = GitPipe(scratch.own, *_WRITE_COMMIT, read=_read_name)
        self._known: dict[str, _Known] = {}
        self._heads: dict[str, Head] = {}

    async def open(self) -> None:
        """Make ready."""
        await self._snapshots.open()

    async def close(self) -> None:
        """End the process that writes commits."""
        await self._commits.close()

    async def look(
        self,
        worker: str,
        folder: Path,
        attempt: common_pb2.AttemptRef,
        changed: Collection[Path] | None = None,
    ) -> Head | None:
        """Return what is in a worktree; nothing in it changes.

        Args:
            worker: Whose it is.
            folder: Its top folder. Nobody may reset it meanwhile.
            attempt: The attempt that it serves.
            changed: The files that have changed since the last look, where nothing else has; None
                where that is not known.

        Returns:
            None where it cannot be read, and could not before in this attempt.
        """
        last = self._heads.get(worker)
        try:
            known, tree = await self._tree(worker, folder, attempt.fencing_token, changed)
            if last is None or last.standing != (known.head, tree) or last.attempt != attempt:
                commit = await self._commit(worker, known, tree)
                last = self._heads[worker] = Head(worker, known.head, commit, tree, attempt)
        except (GitError, OSError) as error:
            log.info("a worktree cannot be looked at", worker=worker, why=str(error))
            self._known.pop(worker, None)
        return last if last and last.attempt == attempt else None

    async def relevant(self, worker: str, paths: Collection[Path]) -> list[Path]:
        """Return those of some paths in a worktree that git does not ignore."""
        known = self._known.get(worker)
        if known is None:
            return list(paths)
        named = {str(path.relative_to(known.files.folder)): path for path in paths}
        check = ("check-ignore", "-z", "--stdin")
        try:
            answer = await known.files.run(*check, stdin=join([*named]), ok=(0, 1))
        except (GitError, OSError):
            return list(paths)
        return [named[name] for name in named.keys() - set(split(answer.stdout))]

    def forget(self, worker: str) -> None:
        """Forget a worktree that is no more."""
        self._known.pop(worker, None)
        self._heads.pop(worker, None)

    async def _tree(
        self, worker: str, folder: Path, token: int, changed: Collection[Path] | None
    ) -> tuple[_Known, str]:
        known = self._known.get(worker)
        if changed and known and known.token == token and known.index == _stat(known.git_folder):
            tree = await self._read_some(known, changed)
            if tree is not None:
                return known, tree
        head, git_folder = await self._where(folder)
        standing = (token, head, _stat(git_folder))
        if known and (known.token, known.head, known.index) == standing:
            tree = await self._read_all(known)
            if tree is not None:
                return known, tree
        known = await self._begin(worker, folder, token, head, git_folder)
        tree = await self._snapshots.tree_of(worker, folder, head)
        self._known[worker] = known
        return known, tree

    async def _where(self, folder: Path) -> tuple[str, Path]:
        """Return the HEAD of a worktree and its own git folder."""
        git = self._repository.user.at(folder)
        git = git.with_variables(GIT_CEILING_DIRECTORIES=str(folder.parent))
        asked = ("--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "HEAD")
        top, git_folder, head = (await git.text("rev-parse", *asked)).split("\n")
        if Path(top) != folder:
            raise GitError(("rev-parse",), 1, f"{top} is another checkout")
        return head, Path(git_folder)

    async def _begin(
        self, worker: str, folder: Path, token: int, head: str, git_folder: Path
    ) -> _Known:
        """Prepare the reading of a worktree that stands elsewhere than before."""
        own = self._repository.own
        if (await own.run("cat-file", "-e", head, ok=(0, 1, 128))).status:
            await self._repository.bring(head, f"{names.HEADS}/{names.component(worker)}")
        await asyncio.to_thread(self._adopt, worker)
        files = await self._snapshots.files(worker, folder)
        head_tree = await self._scratch.tree(head)
        return _Known(token, head, head_tree, git_folder, _stat(git_folder), files)

    def _adopt(self, worker: str) -> None:
        """Begin with the index of the snapshots, so that files are read only if they changed."""
        index = self._repository.folder / "indexes" / names.component(worker)
        if index.is_file():
            self._snapshots.adopt(worker, index)

    async def _read_some(self, known: _Known, changed: Collection[Path]) -> str | None:
        """Return the tree of the files where only some have changed; None where that is not all.

        Folders stand for what is in them, and what is ignored changes with what says so.
        """
        if any(path.name in _RULES or path.is_dir() for path in changed):
            return None
        paths = join([str(path.relative_to(known.files.folder)) for path in changed])
        flags = ("--add", "--remove", "--replace", "-z", "--stdin")
        return await self._read(known, "update-index", *flags, stdin=paths)

    async def _read_all(self, known: _Known) -> str | None:
        """Return the tree of the files; None where more than files may have changed."""
        tree = await self._read(known, "add", "-A", "--", ".")
        trees = (known.head_tree, tree or known.head_tree)
        return None if (await self._footprints.read([trees]))[trees].links else tree

    async def _read(self, known: _Known, *arguments: str, stdin: bytes = b"") -> str | None:
        try:
            await known.files.run(*arguments, stdin=stdin)
            return await known.files.text("write-tree")
        except GitError:
            return None

    async def _commit(self, worker: str, known: _Known, tree: str) -> str:
        """Return a commit of a tree; by a git that stays, since the start of one takes longer."""
        if tree == known.head_tree:
            return known.head
        draft = self._scratch.folder / f"commit-{names.component(worker)}"
        draft.write_text(_COMMIT.format(tree=tree, parent=known.head))
        return (await self._commits.ask([str(draft)]))[0]


async def _read_name(answers: asyncio.StreamReader) -> str:
    return (await answers.readuntil(b"\n")).decode().strip()


def _stat(git_folder: Path) -> tuple[int, int, int]:
    try:
        about = (git_folder / "index").stat()
    except FileNotFoundError:
        return 0, 0, 0
    return about.st_mtime_ns, about.st_size, about.st_ino
