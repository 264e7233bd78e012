"""Keeps what is in a folder of files as a commit, without touching the folder's own index.

Git runs with Coord's own repository as its GIT_DIR, the folder as its work tree, and an index that
is Coord's alone. That index stays from one snapshot to the next, so that only files that have
changed since are read again.
"""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import structlog

from coord_integrator import names
from coord_integrator.git import Git, GitError, join, split
from coord_integrator.repository import Repository

log = structlog.get_logger(__name__)

_TRIES_MAX = 6
_DEPTH_MAX = 32
_SEED = ".coord-seed"
_GITLINK = "160000"
# Git skips a folder that it cannot open and only warns of it.
_UNREADABLE = b"could not open directory"
# Git refuses a file that is not in the encoding that its attributes name.
_AS_BYTES = b"* !working-tree-encoding\n"


@dataclass(frozen=True)
class Capture:
    """What was in a folder.

    Attributes:
        head: The commit that it stood on.
        tree: Its files.
        commit: A commit with these files and `head` as its parent.
        changed: Whether the files differ from `head`'s.
    """

    head: str
    tree: str
    commit: str
    changed: bool


class Snapshots:
    """Takes snapshots of worktrees."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._indexes = repository.folder / "indexes"
        # Coord's own repository but for the attributes.
        self._raw = repository.folder / "raw.git"

    async def open(self) -> None:
        """Unlock the indexes that a kill has left locked."""
        self._indexes.mkdir(parents=True, exist_ok=True)
        for lock in self._indexes.glob("*.lock"):
            lock.unlink()
        algorithm = await self._repository.own.text("rev-parse", "--show-object-format")
        flags = ("--bare", "--quiet", "--template=", f"--object-format={algorithm}")
        own = self._repository.own.with_variables(GIT_DIR=str(self._raw))
        await own.run("init", *flags)

    def adopt(self, worker: str, index: Path) -> None:
        """Begin with a copy of an index that was just checked out, and with its trust in files.

        The copy keeps the time of the original: git tells by it which files may have changed since
        within the resolution of their times.
        """
        shutil.copy2(index, self._indexes / names.component(worker))

    async def capture(self, worker: str, folder: Path, head: str, message: str) -> Capture:
        """Take what is in a folder.

        Args:
            worker: Whose folder; names the index.
            folder: The top folder.
            head: The commit of the user's repository that it stands on.
            message: The commit's message.

        Raises:
            GitError: where something cannot be read, or does not hold still. Nothing is kept then.
        """
        await self._repository.bring(head, f"{names.HEADS}/{names.component(worker)}")
        tree = await self.tree_of(worker, folder, head)
        own = self._repository.own
        commit = await own.text("commit-tree", tree, "-p", head, "-m", message)
        return Capture(head, tree, commit, tree != await self._repository.tree(head))

    async def tree_of(self, worker: str, folder: Path, head: str) -> str:
        """Return the tree of what is in a folder; see `capture`.

        Files that are not in the encoding that their attributes name are taken as they are.
        """
        await asyncio.to_thread(self._repository.copy_info)
        index = self._indexes / names.component(worker)
        files = await self.files(worker, folder)
        try:
            return await self._read(files, index, head)
        except GitError as error:
            log.warning("reading files without their encodings", worker=worker, why=str(error))
            await asyncio.to_thread(self._repository.copy_info, self._raw / "info", _AS_BYTES)
            objects = str(self._repository.own.folder / "objects")
            raw = files.with_variables(GIT_DIR=str(self._raw), GIT_OBJECT_DIRECTORY=objects)
            return await self._read(raw, index, head)

    async def _read(self, files: Git, index: Path, head: str) -> str:
        try:
            await files.run("read-tree", "--reset", head)
        except GitError:
            await asyncio.to_thread(index.unlink, missing_ok=True)
            await files.run("read-tree", "--reset", head)
        await _take_flags(files, self._repository.user.at(files.folder))
        return await _Reader(files, files.folder).read()

    async def files(self, worker: str, folder: Path) -> Git:
        """Return what runs git on the files of a folder, with the index that is Coord's alone."""
        index = self._indexes / names.component(worker)
        own = self._repository.own.at(folder)
        variables = {"GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": str(index)}
        quiet = ("-c", "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false")
        options = await self._repository.reading_options()
        return own.with_variables(**variables).with_options(*quiet, *options)


async def _take_flags(files: Git, worktree: Git) -> None:
    """Take from the worktree's own index what its files alone do not tell.

    That is, the paths that are tracked though they are ignored, and those that a sparse checkout
    leaves out. A folder that git does not know any more has no such index.
    """
    try:
        await _check_top(worktree)
        ignored = await worktree.items("ls-files", "-z", "-c", "-i", "--exclude-standard")
        tagged = await worktree.items("ls-files", "-z", "-t", "-c")
    except GitError:
        return
    there = [path for path in ignored if _is_file(worktree.folder / path)]
    if there:
        await files.run("update-index", "--add", "-z", "--stdin", stdin=join(there))
    skipped = (item[2:] for item in tagged if item.startswith("S "))
    # The same mark on a file that is there would only hide what is in it.
    sparse = {path for path in skipped if not _is_file(worktree.folder / path)}
    if sparse:
        known = sparse.intersection(await files.items("ls-files", "-z", "-c"))
        await files.run("update-index", "--skip-worktree", "-z", "--stdin", stdin=join([*known]))


async def _check_top(worktree: Git) -> None:
    top = await worktree.text("rev-parse", "--path-format=absolute", "--show-toplevel")
    if Path(top) != worktree.folder.resolve():
        raise GitError(("rev-parse", "--show-toplevel"), 1, f"{top} is another checkout")


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


class _Reader:
    """Reads a folder until two readings agree."""

    def __init__(self, files: Git, folder: Path) -> None:
        self._files = files
        self._folder = folder

    async def read(self) -> str:
        """Return the tree of the folder's files."""
        before = ""
        complaint: GitError | None = None
        for _ in range(_TRIES_MAX):
            try:
                tree = await self._read_once()
            except GitError as error:
                # A file may have gone between its listing and its reading.
                complaint, before = error, ""
                continue
            if tree == before:
                return tree
            complaint, before = None, tree
        message = f"the files in {self._folder} do not hold still; end what writes them"
        raise complaint or GitError(("add", "-A"), 1, message)

    async def _read_once(self) -> str:
        await self._open_nested()
        output = await self._files.run("add", "-A", "--", ".")
        if _UNREADABLE in output.stderr:
            raise GitError(("add", "-A"), 0, output.stderr.decode(errors="replace"))
        return await self._files.text("write-tree")

    async def _open_nested(self) -> None:
        """Make git go into repositories inside of the folder as if they were mere folders.

        It does so where its index already holds a path below them; `add` then drops that path,
        since there is no such file.
        """
        for _ in range(_DEPTH_MAX):
            found = [*await self._nested(), *await self._foreign_links()]
            if not found:
                return
            await self._seed(found)

    async def _nested(self) -> list[str]:
        output = await self._files.run("ls-files", "-z", "-o", "--exclude-standard")
        found = [path.rstrip("/") for path in split(output.stdout) if path.endswith("/")]
        modules = await self._submodules() if found else set()
        return [path for path in found if path not in modules]

    async def _foreign_links(self) -> list[str]:
        """Return links to commits of other repositories that stand for files on disk.

        A submodule that `.gitmodules` names stays a link, unless there are files in its place.
        """
        entries = await self._files.items("ls-files", "-z", "-s")
        links = [entry.split("\t", 1)[1] for entry in entries if entry.startswith(_GITLINK)]
        if not links:
            return []
        modules = await self._submodules()
        return [path for path in links if self._holds_files(path, submodule=path in modules)]

    def _holds_files(self, path: str, *, submodule: bool) -> bool:
        folder = self._folder / path
        if not folder.is_dir() or not any(folder.iterdir()):
            return False
        return not (submodule and (folder / ".git").exists())

    async def _submodules(self) -> set[str]:
        if not (self._folder / ".gitmodules").is_file():
            return set()
        arguments = ("config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$")
        output = await self._files.run(*arguments, ok=(0, 1))
        return {item.partition("\n")[2].rstrip("/") for item in split(output.stdout)}

    async def _seed(self, folders: list[str]) -> None:
        empty = await self._files.text("hash-object", "-w", "--stdin")
        lines = [f"100644 {empty}\t{folder}/{_SEED}" for folder in folders]
        arguments = ("update-index", "--add", "--replace", "-z", "--index-info")
        await self._files.run(*arguments, stdin=join(lines))
