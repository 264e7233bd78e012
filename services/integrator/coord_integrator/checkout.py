"""Brings the user's checkout along when its branch has fallen behind what has landed.

Only a clean checkout, and only by a fast-forward. The move is recorded before it begins: files and
index first, the branch last. After a crash in between, what the move had written is taken back
before it is tried again; what the user has written is not touched.
"""

import asyncio
from pathlib import Path

import structlog

from coord_integrator.git import Git, GitError, join
from coord_integrator.repository import Checkout, Repository
from coord_integrator.store import CheckoutMove, IntegratorStore
from coord_integrator.target import Standing, Target

_UNFINISHED = (
    "CHERRY_PICK_HEAD",
    "MERGE_HEAD",
    "REVERT_HEAD",
    "index.lock",
    "rebase-apply",
    "rebase-merge",
    "sequencer",
)

log = structlog.get_logger(__name__)


class CheckoutFollower:
    """Moves the user's checkout on."""

    def __init__(self, repository: Repository, store: IntegratorStore, target: Target) -> None:
        self._repository = repository
        self._store = store
        self._target = target

    async def repair(self) -> None:
        """Finish or take back a move that a crash has cut off."""
        move = self._store.checkout_move()
        if move is None:
            return
        git = self._repository.user.at(Path(move.path))
        if await self._is_at_old(git, move):
            if await _is_locked(git):
                return
            if await _holds(git, move.new):
                await self._move_branch(git, move)
            else:
                await _take_back(git, move)
        await self._store.end_checkout_move()

    async def follow(self, standing: Standing) -> bool:
        """Move the checkout of the target to the tip; False where that cannot be done cleanly."""
        checkout = await self._find(standing)
        if checkout is None or self._store.checkout_move() is not None:
            return False
        git = self._repository.user.at(checkout.path)
        move = CheckoutMove(str(checkout.path), self._target.branch, standing.target, standing.tip)
        if not await _is_clean(git) or await _would_overwrite(git, move):
            return False
        await self._store.begin_checkout_move(move)
        try:
            await _move_files(git, move)
            await self._move_branch(git, move)
        except GitError as error:
            log.warning("checkout was not brought along", path=move.path, why=error.complaint)
            await self.repair()
            return False
        await self._store.end_checkout_move()
        return True

    async def _find(self, standing: Standing) -> Checkout | None:
        if standing.diverged or standing.tip == standing.target:
            return None
        ref = f"refs/heads/{self._target.branch}"
        checkouts = await self._repository.checkouts()
        return next((item for item in checkouts if item.branch == ref and not item.bare), None)

    async def _is_at_old(self, git: Git, move: CheckoutMove) -> bool:
        try:
            branch = await git.optional("symbolic-ref", "--quiet", "HEAD")
            commit = await git.text("rev-parse", "--verify", "HEAD^{commit}")
        except (GitError, OSError):
            return False
        return (branch, commit) == (f"refs/heads/{move.branch}", move.old)

    async def _move_branch(self, git: Git, move: CheckoutMove) -> None:
        arguments = ("-m", "coord: bring the checkout along", f"refs/heads/{move.branch}")
        await git.run("update-ref", *arguments, move.new, move.old)


async def _git_folder(git: Git) -> Path:
    return Path(await git.text("rev-parse", "--absolute-git-dir"))


async def _is_locked(git: Git) -> bool:
    return (await _git_folder(git) / "index.lock").exists()


async def _is_clean(git: Git) -> bool:
    folder = await _git_folder(git)
    if any((folder / name).exists() for name in _UNFINISHED):
        return False
    # Submodules are left as they are: their changes are the user's, too.
    return not await git.text("status", "--porcelain", "--untracked-files=no")


async def _would_overwrite(git: Git, move: CheckoutMove) -> bool:
    """Tell whether a file that the move brings is there already, ignored or not."""
    added = await git.items(
        "diff", "-z", "--name-only", "--no-renames", "--diff-filter=A", move.old, move.new
    )
    return any((git.folder / path).exists() or (git.folder / path).is_symlink() for path in added)


async def _move_files(git: Git, move: CheckoutMove) -> None:
    await git.run("update-index", "-q", "--refresh")
    await git.run("read-tree", "-m", "-u", move.old, move.new)


async def _holds(git: Git, commit: str) -> bool:
    """Tell whether index and files are those of a commit."""
    staged = await git.succeeds("diff", "--cached", "--quiet", commit)
    return staged and await git.succeeds("diff", "--quiet")


async def _take_back(git: Git, move: CheckoutMove) -> None:
    """Put back the files that the move has written, and no others.

    They are those that hold what the new commit holds; the index is written last, so it is still
    the old one, or someone has worked on since.
    """
    if not await git.succeeds("diff", "--cached", "--quiet", move.old):
        return
    changed = await git.items("diff", "-z", "--name-only", "--no-renames", move.old, move.new)
    for path in changed:
        await _take_back_file(git, move, path)


async def _take_back_file(git: Git, move: CheckoutMove, path: str) -> None:
    old = await git.optional("rev-parse", "--verify", "--quiet", f"{move.old}:{path}")
    new = await git.optional("rev-parse", "--verify", "--quiet", f"{move.new}:{path}")
    if await _blob_on_disk(git, path) != new:
        return
    if old is None:
        await asyncio.to_thread((git.folder / path).unlink, missing_ok=True)
    else:
        await git.run("checkout-index", "-f", "-z", "--stdin", stdin=join([path]))


async def _blob_on_disk(git: Git, path: str) -> str | None:
    file = git.folder / path
    if file.is_symlink():
        return await git.text("hash-object", "--stdin", stdin=bytes(file.readlink()))
    if not file.is_file():
        return None
    return await git.text("hash-object", "--", path)
