"""What an agent has staged or taken back: what neither HEAD nor the files of a worktree have."""

import structlog

from coord_integrator import names
from coord_integrator.git import Git, GitError, join
from coord_integrator.repository import Repository
from coord_integrator.snapshot import Capture

_MESSAGE = "Staged or taken back by {worker}\n\nWhat was staged or taken back is in the parents.\n"
_STAGED = "Staged by {worker}, and not in the files\n"
_UNMERGED = "U"
# What is named by one of these is reachable without Coord.
_KNOWN = ("--branches", "--tags", "--remotes", f"--glob={names.WIP}")

log = structlog.get_logger(__name__)


class LeftBehind:
    """Finds what an agent has left behind in the course of an attempt."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def find(self, worker: str, worktree: Git, capture: Capture) -> str | None:
        """Return a commit of the user's repository that has all of it; None where there is none.

        That is content that is staged and in no file, and the commits of the worktree's reflog that
        nothing else reaches, such as those before a reset or an amendment.

        Args:
            worker: Whose worktree it is.
            worktree: Runs git in it.
            capture: What was captured of it just now.
        """
        try:
            commits = (await worktree.text("log", "-g", "--format=%H", "HEAD", "--")).split()
        except GitError:
            commits = []
        try:
            staged = await self._staged(worker, worktree, capture)
        except GitError as error:
            log.warning("what is staged cannot be read", worker=worker, why=str(error))
            staged = []
        tips = await _unreached(worktree, [*commits, *staged], capture.head)
        if not tips:
            return None
        parents = [word for tip in tips for word in ("-p", tip)]
        tree = f"{capture.head}^{{tree}}"
        message = _MESSAGE.format(worker=worker)
        return await worktree.text("commit-tree", tree, *parents, "-m", message)

    async def _staged(self, worker: str, worktree: Git, capture: Capture) -> list[str]:
        """Return a commit with what is staged, where some of it is in no file.

        The same content gives the same commit each time.
        """
        entries = await _staged_entries(worktree, capture.head)
        files = entries and await self._repository.own.items("ls-tree", "-r", "-z", capture.tree)
        # A deletion, whose mode is 0, holds nothing.
        known = {line.replace(" blob ", " ", 1) for line in files}
        if all(entry in known or entry.startswith("0") for entry in entries):
            return []
        tree = await self._tree(worker, worktree, capture.head, entries)
        when = await worktree.text("log", "-1", "--format=%cI", capture.head)
        dated = worktree.with_variables(GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when)
        message = _STAGED.format(worker=worker)
        return [await dated.text("commit-tree", tree, "-p", capture.head, "-m", message)]

    async def _tree(self, worker: str, worktree: Git, head: str, entries: list[str]) -> str:
        index = self._repository.folder / "indexes" / f"{names.component(worker)}.staged"
        git = worktree.with_variables(GIT_INDEX_FILE=str(index))
        try:
            await git.run("read-tree", "--reset", head)
            await git.run("update-index", "-z", "--index-info", stdin=join(entries))
            return await git.text("write-tree")
        finally:
            index.unlink(missing_ok=True)


async def _staged_entries(worktree: Git, head: str) -> list[str]:
    """Return what the index has other than HEAD, as `update-index --index-info` reads it."""
    arguments = ("--cached", "--raw", "--no-abbrev", "--no-renames", "--ita-invisible-in-index")
    items = await worktree.items("diff-index", "-z", *arguments, head)
    entries = []
    for about, path in zip(items[::2], items[1::2], strict=True):
        _, mode, _, blob, status = about.split(" ")
        if status != _UNMERGED:
            entries.append(f"{mode} {blob}\t{path}")
    return entries


async def _unreached(worktree: Git, commits: list[str], head: str) -> list[str]:
    """Return those of some commits, or of what they contain, that no other is built upon."""
    if not commits:
        return []
    lines = "".join(f"{commit}\n" for commit in [*dict.fromkeys(commits), f"^{head}"])
    flags = ("--ignore-missing", "--parents", "--stdin", "--not", *_KNOWN)
    found = await worktree.text("rev-list", *flags, stdin=lines.encode())
    family = [line.split() for line in found.splitlines()]
    built_upon = {parent for _, *parents in family for parent in parents}
    return [commit for commit, *_ in family if commit not in built_upon]
