"""Worktrees of the user's repository, one a worker, outside of his checkout.

Whatever a worktree holds is kept under a wip ref before anything in it is reset or removed. A
folder that git does not know any more is read all the same.
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from coord_integrator import names
from coord_integrator.git import Git, GitError
from coord_integrator.git_folder import begin_reflog, drop_unfinished, trust_no_flags
from coord_integrator.left_behind import LeftBehind
from coord_integrator.lock import try_lock
from coord_integrator.repository import Repository
from coord_integrator.snapshot import Capture, Snapshots
from coord_integrator.submodules import refuse_work

_LOCK_POLL_S = 0.05
_ADD_TRIES = 3
_WHOLE_INDEX = ("-c", "core.splitIndex=false", "-c", "index.sparse=false")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """A worker's worktree as the integrator has recorded it.

    Attributes:
        worker: Whose it is.
        token: Fencing token of the attempt that it served last.
        branch: Its branch, without `refs/heads/`; empty for a new one.
        base: The commit that the branch started from; empty for a new one.
        task: The task of that attempt; empty where only the branch tells.
    """

    worker: str
    token: int
    branch: str = ""
    base: str = ""
    task: str = ""


@dataclass(frozen=True)
class Kept:
    """What was kept of a worktree, and where."""

    ref: str
    capture: Capture


class Worktrees:
    """Makes, reads, resets and removes worktrees."""

    def __init__(
        self, repository: Repository, snapshots: Snapshots, root: Path, target: str
    ) -> None:
        self._target = target
        self._repository = repository
        self._snapshots = snapshots
        self._left_behind = LeftBehind(repository)
        self._root = root.resolve()
        self._aside = self._root / ".removed"
        self._lock = asyncio.Lock()

    def path(self, worker: str) -> Path:
        """Return the top folder of a worker's worktree."""
        return self._root / names.component(worker)

    async def keep(self, place: Place, tip: str, title: str = "") -> Kept | None:
        """Keep what is in a worktree under a wip ref; nothing in it changes.

        Args:
            place: The worktree.
            tip: The newest landed commit; stands in for a base where none is recorded.
            title: The commit's message, where there is something to commit; by default it names
                task, worker and attempt.

        Where the folder is gone, what was committed in it counts.

        Returns:
            None where it holds nothing that its base does not.
        """
        kept = await self._settle_aside(place, tip)
        folder = self.path(place.worker)
        if not folder.is_dir():
            return kept or await self._keep_commits(place)
        return await self._keep_folder(place, tip, folder, title) or kept

    async def is_whole(self, place: Place) -> bool:
        """Tell whether a worktree is there, and git knows it."""
        return await self._head(self.path(place.worker)) is not None

    async def free_branch(self, worker: str, task_id: str, token: int) -> str:
        """Return the branch for an attempt: the usual one, unless another checkout has it."""
        branch = names.branch(worker, task_id, self._target)
        holder = await self._checked_out_at(branch)
        if holder is None or holder == self.path(worker):
            return branch
        return names.spare_branch(branch, token)

    async def reset(self, place: Place, branch: str, token: int, tip: str) -> bool:
        """Put a worktree, clean, on an attempt's branch at `tip`. `keep` has to come first.

        Files that git ignores stay.

        Returns:
            Whether the worktree was made anew.
        """
        await self._keep_branch(place.worker, token, branch, tip)
        async with self._locked() as git:
            reset = await self._try_reset(git, place.worker, branch, tip)
            if not reset:
                await self._add(git, place, branch, tip)
        return not reset

    async def restore(self, place: Place, head: str, commit: str) -> None:
        """Put a worktree's branch on `head` and the files of `commit` into it, not committed.

        `keep` has to come first. Files that git ignores stay.
        """
        folder = self.path(place.worker)
        async with self._locked() as git:
            inside = git.at(folder).with_options(*_WHOLE_INDEX)
            own_folder = Path(await inside.text("rev-parse", "--absolute-git-dir"))
            await asyncio.to_thread(drop_unfinished, own_folder)
            await trust_no_flags(inside)
            await inside.run("checkout", "-q", "-f", "--no-track", "-B", place.branch, head)
            await inside.run("clean", "-ffdq")
            await inside.run("read-tree", "-u", "--reset", commit)
            await inside.run("reset", "-q")

    async def remove(self, place: Place, tip: str) -> Kept | None:
        """Keep what is in a worktree and remove it.

        It is moved away first, so that a process that still writes by its path cannot lose what it
        writes between the reading and the removal.
        """
        kept = await self._settle_aside(place, tip)
        folder = self.path(place.worker)
        async with self._locked() as git:
            if folder.is_dir():
                await asyncio.to_thread(self._move_aside, place.worker)
            kept = await self._settle_aside(place, tip) or kept
            await self._forget(git, folder)
        return kept

    async def set_aside(self, place: Place) -> list[Path]:
        """Move a worktree that cannot be kept to where nothing is reset or removed.

        Returns:
            Where it is now, with what an earlier removal has left of it.
        """
        async with self._locked():
            name = names.component(place.worker)
            folders = (self._root / name, self._aside / name)
            return [
                await asyncio.to_thread(self._move_to_safety, folder, place.token)
                for folder in folders
                if folder.is_dir()
            ]

    async def drop_branch(self, branch: str, base: str, tip: str) -> bool:
        """Delete an attempt's branch where it holds nothing that `tip` does not.

        Returns:
            Whether it is gone.
        """
        ref = f"refs/heads/{branch}"
        commit = await self._repository.user_commit(ref)
        if commit is None:
            return True
        if await self._checked_out_at(branch) is not None:
            return False
        user = self._repository.user
        landed = await user.succeeds("merge-base", "--is-ancestor", commit, tip)
        if landed or commit == base:
            await user.run("update-ref", "-d", ref, commit)
        return landed or commit == base

    def used_ns(self, worker: str) -> int:
        """Return when git was last used in a worktree, by the wall clock; 0 where it is gone."""
        try:
            pointer = (self.path(worker) / ".git").read_text()
            git_folder = Path(pointer.removeprefix("gitdir: ").strip())
            return max((git_folder / name).stat().st_mtime_ns for name in ("HEAD", "index"))
        except OSError:
            return 0

    async def _head(self, folder: Path) -> str | None:
        """Return the HEAD of a worktree; None where git does not know the folder as one of ours."""
        git = self._git(folder)
        try:
            answer = await git.text(
                "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir"
            )
            head = await git.text("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except (GitError, OSError):
            return None
        top, common = map(Path, answer.split("\n"))
        known = top == folder and common.resolve() == self._repository.common_folder.resolve()
        return head if known else None

    def _git(self, folder: Path) -> Git:
        user = self._repository.user.at(folder)
        return user.with_variables(GIT_CEILING_DIRECTORIES=str(folder.parent))

    async def _keep_folder(
        self, place: Place, tip: str, folder: Path, title: str = ""
    ) -> Kept | None:
        known = await self._head(folder)
        head = known or await self._last_head(place, tip)
        await refuse_work(self._git(folder), place.base or tip)
        message = title or _unfinished(place)
        capture = await self._snapshots.capture(place.worker, folder, head, message)
        if known is not None:
            await self._keep_left_behind(place, folder, capture)
        if not capture.changed and capture.head == place.base:
            return None
        ref = names.wip_ref(place.worker, place.token, capture.commit)
        earlier = await self._same_capture(place, capture)
        kept = earlier or Kept(ref, capture)
        await self._repository.keep(kept.capture.commit, kept.ref)
        return kept

    async def _keep_left_behind(self, place: Place, folder: Path, capture: Capture) -> None:
        commit = await self._left_behind.find(place.worker, self._git(folder), capture)
        if commit is not None:
            ref = names.left_ref(place.worker, place.token, commit)
            await self._repository.bring(commit, ref)
            await self._repository.keep(commit, ref)

    async def _keep_commits(self, place: Place) -> Kept | None:
        """Keep the branch of a worktree whose folder is gone."""
        commit = None
        if place.branch:
            commit = await self._repository.user_commit(f"refs/heads/{place.branch}")
        if commit is None or commit == place.base:
            return None
        ref = names.wip_ref(place.worker, place.token, commit)
        await self._repository.bring(commit, ref)
        await self._repository.keep(commit, ref)
        tree = await self._repository.tree(commit)
        return Kept(ref, Capture(commit, tree, commit, changed=False))

    async def _last_head(self, place: Place, tip: str) -> str:
        head = None
        if place.branch:
            head = await self._repository.user_commit(f"refs/heads/{place.branch}")
        return head or place.base or tip

    async def _same_capture(self, place: Place, capture: Capture) -> Kept | None:
        """Return an earlier capture of the same files on the same commit: one is enough."""
        prefix = names.wip_ref(place.worker, place.token, "")
        lines = await self._repository.own.text(
            "for-each-ref", "--format=%(refname) %(objectname) %(tree) %(parent)", f"{prefix}*"
        )
        for line in lines.splitlines():
            ref, commit, *about = line.split(" ")
            if about == [capture.tree, capture.head]:
                return Kept(ref, Capture(capture.head, capture.tree, commit, capture.changed))
        return None

    async def _keep_branch(self, worker: str, token: int, branch: str, tip: str) -> None:
        """Keep what a branch of that name holds before it is moved."""
        commit = await self._repository.user_commit(f"refs/heads/{branch}")
        if commit is None or await self._repository.is_kept(commit, tip):
            return
        ref = names.wip_ref(worker, token, commit)
        await self._repository.bring(commit, ref)
        await self._repository.keep(commit, ref)

    async def _checked_out_at(self, branch: str) -> Path | None:
        for checkout in await self._repository.checkouts():
            if checkout.branch == f"refs/heads/{branch}" and checkout.path.is_dir():
                return checkout.path
        return None

    async def _try_reset(self, git: Git, worker: str, branch: str, tip: str) -> bool:
        folder = self.path(worker)
        if await self._head(folder) is None:
            return False
        inside = git.at(folder).with_options(*_WHOLE_INDEX)
        try:
            own_folder = Path(await inside.text("rev-parse", "--absolute-git-dir"))
            await asyncio.to_thread(drop_unfinished, own_folder)
            await trust_no_flags(inside)
            await inside.run("checkout", "-q", "-f", "--no-track", "-B", branch, tip)
            await inside.run("clean", "-ffdq")
            await asyncio.to_thread(begin_reflog, own_folder)
            self._snapshots.adopt(worker, own_folder / "index")
            return await self._is_exact(worker, tip)
        except (GitError, OSError) as error:
            log.warning("worktree cannot be reset; making it anew", worker=worker, why=str(error))
            return False

    async def _is_exact(self, worker: str, tip: str) -> bool:
        tree = await self._snapshots.tree_of(worker, self.path(worker), tip)
        return tree == await self._repository.tree(tip)

    async def _add(self, git: Git, place: Place, branch: str, tip: str) -> None:
        folder = self.path(place.worker)
        self._root.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            await asyncio.to_thread(self._move_aside, place.worker)
            # What it held was kept before; this keeps what was written since.
            await self._settle_aside(place, tip)
        arguments = ("-f", "-f", "--no-track", "-B", branch, str(folder), tip)
        for tries_left in reversed(range(_ADD_TRIES)):
            await self._forget(git, folder)
            try:
                await git.with_options(*_WHOLE_INDEX).run("worktree", "add", "-q", *arguments)
                break
            except GitError:
                # A `gc` of the user's may have taken the half-made one for one that was left.
                if not tries_left or folder.exists():
                    raise
        inside = git.at(folder)
        own_folder = Path(await inside.text("rev-parse", "--absolute-git-dir"))
        await asyncio.to_thread(begin_reflog, own_folder)
        self._snapshots.adopt(place.worker, own_folder / "index")

    async def _forget(self, git: Git, folder: Path) -> None:
        """Make git forget a worktree whose folder is gone."""
        for checkout in await self._repository.checkouts():
            if checkout.path == folder:
                await git.run("worktree", "remove", "-f", "-f", str(folder))

    def _move_aside(self, worker: str) -> None:
        self._aside.mkdir(parents=True, exist_ok=True)
        self.path(worker).rename(self._aside / names.component(worker))

    def _move_to_safety(self, folder: Path, token: int) -> Path:
        safe = self._root / ".unkept"
        safe.mkdir(exist_ok=True)
        for number in itertools.count(1):
            place = safe / f"{folder.name}-{token}-{number}"
            if not place.exists():
                break
        return folder.rename(place)

    async def _settle_aside(self, place: Place, tip: str) -> Kept | None:
        """Keep and delete what was moved aside, now or before a crash."""
        folder = self._aside / names.component(place.worker)
        if not folder.exists():
            return None
        kept = await self._keep_folder(place, tip, folder)
        await asyncio.to_thread(delete_tree, folder)
        return kept

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[Git]:
        """Hold the lock around what adds, removes or resets worktrees, in all processes.

        The lock is on `coord.lock` in the git folder that all checkouts share. Each git that runs
        under it inherits it, so that it outlives a kill of this process until that git has ended.
        """
        async with self._lock:
            while (descriptor := try_lock(self._repository.common_folder)) is None:  # noqa: ASYNC110 - another process's lock.
                await asyncio.sleep(_LOCK_POLL_S)
            try:
                yield (await self._repository.writing()).holding(descriptor)
            finally:
                os.close(descriptor)


def _unfinished(place: Place) -> str:
    trailers = [f"Coord-Worker: {place.worker}", f"Coord-Attempt: {place.token}"]
    if place.task:
        trailers.insert(0, f"Coord-Task: {place.task}")
    title = f"Unfinished work on {place.task or place.branch or 'an unknown task'}"
    return "\n".join([title, "", *trailers, ""])


def delete_tree(folder: Path) -> None:
    """Delete a folder, also where tools have made what is in it read-only."""

    def open_up(function: Callable[..., object], path: str, _: object) -> None:
        Path(path).parent.chmod(0o700)
        if Path(path).is_dir():
            Path(path).chmod(0o700)
        function(path)

    shutil.rmtree(folder, onerror=open_up)
