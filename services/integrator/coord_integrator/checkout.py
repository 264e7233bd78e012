"""Brings the user's checkout along when its branch has fallen behind what has landed.

Only a clean checkout, and only by a fast-forward. All the while git's own lock on the index is
held, so that no commit of the user's comes in between. The move is recorded before it begins, and
goes in this order: the files, and with them a copy of the index; the branch; the index. After a
crash the branch tells what to do: finish, or take back what was written. What the user has written
is not touched.
"""

import asyncio
import os
from dataclasses import dataclass
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
    "rebase-apply",
    "rebase-merge",
    "sequencer",
)
# What git's lock on the index holds while it is ours: after a crash we know it by that.
_MARK = b"coord: bringing the checkout along\n"

log = structlog.get_logger(__name__)


class CheckoutFollower:
    """Moves the user's checkout on."""

    def __init__(self, repository: Repository, store: IntegratorStore, target: Target) -> None:
        self._repository = repository
        self._store = store
        self._target = target

    async def follow(self, standing: Standing) -> bool:
        """Move the checkout of the target to the tip; False where that cannot be done cleanly."""
        checkout = await self._find(standing)
        if checkout is None or self._store.checkout_move() is not None:
            return False
        git = (await self._repository.writing()).at(checkout.path)
        path, branch = str(checkout.path), self._target.branch
        move = CheckoutMove(path, branch, standing.target, standing.tip)
        if not await _is_clean(git) or await _would_overwrite(git, move):
            return False
        await self._store.begin_checkout_move(move)
        moved = await self._move(git, move)
        await self._store.end_checkout_move()
        return moved

    async def repair(self) -> None:
        """Finish or take back a move that a crash has cut off."""
        move = self._store.checkout_move()
        if move is None:
            return
        log.info("repairing a move of the checkout", path=move.path)
        git = (await self._repository.writing()).at(Path(move.path))
        try:
            index = await _index_of(git)
            if index.is_ours():
                await _settle(git, index, move)
        except FileNotFoundError:
            log.warning("the checkout is gone", path=move.path)
        except GitError as error:
            # Landings go on without it.
            log.warning("checkout is not repaired yet", path=move.path, why=error.complaint)
            return
        await self._store.end_checkout_move()

    async def _find(self, standing: Standing) -> Checkout | None:
        if standing.diverged or standing.tip == standing.target:
            return None
        ref = f"refs/heads/{self._target.branch}"
        checkouts = await self._repository.checkouts()
        return next((item for item in checkouts if item.branch == ref and not item.bare), None)

    async def _move(self, git: Git, move: CheckoutMove) -> bool:
        index = await _index_of(git)
        if not await asyncio.to_thread(index.lock):
            return False
        moved = False
        try:
            moved = await _move_locked(git, index, move)
        except GitError as error:
            log.warning("checkout was not brought along", path=move.path, why=error.complaint)
        await _settle(git, index, move)
        return moved


@dataclass(frozen=True)
class _Index:
    """The index of a checkout.

    Attributes:
        path: The index.
        locked: Git's lock on it.
        copy: What takes its place at the end of the move.
    """

    path: Path
    locked: Path
    copy: Path

    def lock(self) -> bool:
        """Take the lock and make the copy; False where somebody else has the lock."""
        draft = self.locked.with_name("coord-index.mark")
        draft.write_bytes(_MARK)
        try:
            # A link, unlike an exclusive creation, has its content from the first moment.
            os.link(draft, self.locked)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        self.copy.write_bytes(self.path.read_bytes())
        return True

    def is_ours(self) -> bool:
        """Tell whether the lock is ours."""
        return self.locked.is_file() and self.locked.read_bytes() == _MARK

    def release(self, *, adopt: bool) -> None:
        """Give the lock back; with `adopt`, the copy becomes the index before."""
        if adopt and self.copy.exists():
            self.copy.replace(self.path)
        self.copy.unlink(missing_ok=True)
        self.copy.with_name(f"{self.copy.name}.lock").unlink(missing_ok=True)
        self.locked.unlink()


async def _index_of(git: Git) -> _Index:
    folder = Path(await git.text("rev-parse", "--absolute-git-dir"))
    return _Index(folder / "index", folder / "index.lock", folder / "coord-index")


async def _move_locked(git: Git, index: _Index, move: CheckoutMove) -> bool:
    inside = git.with_variables(GIT_INDEX_FILE=str(index.copy))
    inside = inside.with_options("-c", "core.fsync=committed,reference,index")
    if await _commit_of(git, move) != move.old or not await _is_clean(inside):
        return False
    if await _would_overwrite(git, move):
        return False
    await inside.run("update-index", "-q", "--refresh")
    await inside.run("read-tree", "-m", "-u", move.old, move.new)
    why = ("-m", "coord: bring the checkout along")
    await git.run("update-ref", *why, f"refs/heads/{move.branch}", move.new, move.old)
    return True


async def _settle(git: Git, index: _Index, move: CheckoutMove) -> None:
    """End a move, under the lock: finish it if the branch was moved, else take it back."""
    moved = await _commit_of(git, move) == move.new
    if not moved:
        await _take_back(git, move)
    await asyncio.to_thread(index.release, adopt=moved)


async def _commit_of(git: Git, move: CheckoutMove) -> str | None:
    """Return the commit that the checkout stands on; None where it has left the branch."""
    if await git.optional("symbolic-ref", "--quiet", "HEAD") != f"refs/heads/{move.branch}":
        return None
    return await git.optional("rev-parse", "--verify", "--quiet", "HEAD^{commit}")


async def _is_clean(git: Git) -> bool:
    folder = Path(await git.text("rev-parse", "--absolute-git-dir"))
    if any((folder / name).exists() for name in _UNFINISHED):
        return False
    return not await git.text("status", "--porcelain", "--untracked-files=no")


async def _would_overwrite(git: Git, move: CheckoutMove) -> bool:
    """Tell whether a file that the move brings is there already, ignored or not.

    So is one that stands where the move needs a folder.
    """
    added = await git.items(
        "diff", "-z", "--name-only", "--no-renames", "--diff-filter=A", move.old, move.new
    )
    if any((git.folder / path).exists() or (git.folder / path).is_symlink() for path in added):
        return True
    folders = {str(folder) for path in added for folder in Path(path).parents[:-1]}
    blocked = [folder for folder in folders if _is_no_folder(git.folder / folder)]
    tracked = [await _blob(git, move.old, path) is not None for path in blocked]
    return not all(tracked)


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


async def _take_back(git: Git, move: CheckoutMove) -> None:
    """Put back the files that the move has written, and no others.

    Those have the new content, or the beginning of it where the disk was full.
    """
    changed = await git.items("diff", "-z", "--name-only", "--no-renames", move.old, move.new)
    for path in changed:
        new = await _blob(git, move.new, path)
        if await _blob_on_disk(git, path) != new and not await _has_begun(git, path, new):
            continue
        if await _blob(git, move.old, path) is None:
            await asyncio.to_thread((git.folder / path).unlink, missing_ok=True)
        else:
            await git.run("checkout-index", "-f", "-z", "--stdin", stdin=join([path]))


async def _blob(git: Git, commit: str, path: str) -> str | None:
    return await git.optional("rev-parse", "--verify", "--quiet", f"{commit}:{path}")


async def _blob_on_disk(git: Git, path: str) -> str | None:
    file = git.folder / path
    if file.is_symlink():
        return await git.text("hash-object", "--stdin", stdin=os.fsencode(file.readlink()))
    if not file.is_file():
        return None
    return await git.text("hash-object", "--", path)


async def _has_begun(git: Git, path: str, blob: str | None) -> bool:
    """Tell whether a file holds a blob's beginning and no more: git could not write it all."""
    file = git.folder / path
    if blob is None or file.is_symlink() or not file.is_file():
        return False
    size = int(await git.text("cat-file", "-s", blob))
    if file.stat().st_size >= size:
        return False
    content = (await git.run("cat-file", "blob", blob)).stdout
    return content.startswith(await asyncio.to_thread(file.read_bytes))
