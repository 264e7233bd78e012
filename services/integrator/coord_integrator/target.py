"""Where the target stands, and which branch landings move.

A branch that some checkout has is never moved under it. While one has the target, landings go to
`coord/<target>`; what the user commits to the target himself is followed.

`coord/<target>` is Coord's own branch. Where it is put is recorded, before and after: a commit that
somebody else has put there was checked by nobody, and is no tip.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from coord_integrator import names
from coord_integrator.repository import Repository
from coord_integrator.store import IntegratorStore, LandingTip


@dataclass(frozen=True)
class Standing:
    """Where the target stands.

    Attributes:
        branch: The branch that landings move, without `refs/heads/`.
        at: Its commit; empty where it is yet to be made.
        target: The commit of the target itself.
        tip: The newest landed commit: what worktrees start from and changes merge into.
        diverged: Whether `target` holds commits that `tip` does not, and the other way round.
        foreign: What somebody else has put on `coord/<target>`; empty where there is no such.
    """

    branch: str
    at: str
    target: str
    tip: str
    diverged: bool
    foreign: str = ""

    @property
    def judged(self) -> str:
        """The commit that a verdict on the target is about."""
        return self.target if self.diverged else self.tip


class Target:
    """The branch that the operator wants changes in.

    Attributes:
        branch: Its name, without `refs/heads/`.
        seen: Where it stood when it was last read; None before, and without such a branch.
    """

    def __init__(
        self, repository: Repository, store: IntegratorStore, branch: str, worktrees: Path
    ) -> None:
        self.branch = branch
        self.seen: Standing | None = None
        self._worktrees = worktrees
        self._repository = repository
        self._store = store
        self._brought: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def read(self) -> Standing | None:
        """Return where the target stands; None where there is no such branch."""
        async with self._lock:
            self.seen = await self._read()
            return self.seen

    async def _read(self) -> Standing | None:
        target = await self._commit(self.branch)
        if target is None:
            return None
        found = await self._commit(names.landing_branch(self.branch))
        taken = await self.is_checked_out(self.branch)
        branch = names.landing_branch(self.branch) if taken else self.branch
        at = (found or "") if taken else target
        standing = await self._compare(branch, at, target, await self._landed(found))
        foreign = await self._foreign(found, standing.tip)
        return replace(standing, foreign=foreign)

    async def follow(self, standing: Standing) -> bool:
        """Move the landing branch to the tip, where it is elsewhere; False where it has moved."""
        if standing.diverged or standing.at == standing.tip:
            return True
        await self._repository.hand_over(standing.tip, names.LANDING)
        source = standing.at or None
        return await self.move(standing.branch, standing.tip, source, "follow what has landed")

    async def move(self, branch: str, new: str, old: str | None, why: str) -> bool:
        """Move the branch that landings move; False where it is not at `old` (None: not there)."""
        async with self.about_to_move(branch, new):
            return await self._repository.move_branch(branch, new, old, why)

    @asynccontextmanager
    async def about_to_move(self, branch: str, new: str) -> AsyncIterator[None]:
        """Hold it on record that the branch that landings move may be moved to `new` meanwhile."""
        if branch == self.branch:
            yield
            return
        tip = self._store.landing_tip(branch) or LandingTip("")
        await self._store.put_landing_tip(branch, replace(tip, to=new))
        # An error leaves the record as it is: whether the branch has moved then, the branch tells.
        yield
        moved = await self._repository.user_commit(f"refs/heads/{branch}") == new
        after = LandingTip(new) if moved else replace(tip, to="")
        await self._store.put_landing_tip(branch, after)

    @property
    def is_recorded(self) -> bool:
        """Whether it is recorded where Coord has put `coord/<target>`."""
        return self._store.landing_tip(names.landing_branch(self.branch)) is not None

    async def adopt(self, commit: str) -> None:
        """Take a commit for the one that Coord has put on `coord/<target>`."""
        await self._store.put_landing_tip(names.landing_branch(self.branch), LandingTip(commit))

    async def keep_foreign(self, commit: str) -> str:
        """Keep what somebody else has put on `coord/<target>`; return the ref that does."""
        ref = names.foreign_ref(self.branch, commit)
        await self._repository.keep(commit, ref)
        return ref

    async def is_checked_out(self, branch: str) -> bool:
        """Tell whether a checkout has a branch, or is rebasing or bisecting it."""
        return bool(await self._holders(branch))

    async def holder(self, branch: str) -> str:
        """Return the checkout that keeps a branch from being moved; empty where none does.

        `coord/<target>` is nobody's to work on: worktrees of Coord's own are taken off it.
        """
        holders = await self._holders(branch)
        if branch != self.branch:
            ours = [path for path in holders if path.parent == self._worktrees]
            for path in ours:
                await self._detach(path, branch)
            holders = await self._holders(branch) if ours else holders
        return str(holders[0]) if holders else ""

    async def _detach(self, path: Path, branch: str) -> None:
        """Take a worktree off its branch; its files and its index stay as they are."""
        git = self._repository.user.at(path)
        head = await git.optional("symbolic-ref", "--quiet", "HEAD")
        if head != f"refs/heads/{branch}":
            return  # It is rebasing or bisecting the branch.
        commit = await git.text("rev-parse", "--verify", "HEAD^{commit}")
        why = "coord: off the landing branch"
        await git.run("update-ref", "--no-deref", "-m", why, "HEAD", commit, commit)

    async def _holders(self, branch: str) -> list[Path]:
        """Return the checkouts that have a branch, or are rebasing or bisecting it."""
        ref = f"refs/heads/{branch}"
        checkouts = await self._repository.checkouts()
        holders = [checkout.path for checkout in checkouts if checkout.branch == ref]
        return holders or await asyncio.to_thread(_busy, self._repository.common_folder, ref)

    async def _commit(self, branch: str) -> str | None:
        """Return a branch's commit, after it was fetched into Coord's own repository."""
        ref = f"refs/heads/{branch}"
        commit = await self._repository.user_commit(ref)
        if commit is not None and self._brought.get(ref) != commit:
            await self._repository.bring(commit, ref)
            self._brought[ref] = commit
        return commit

    async def _landed(self, found: str | None) -> str | None:
        """Return the newest commit that Coord has put on `coord/<target>`; None without one.

        Args:
            found: Where the branch is; None where it is not there.
        """
        tip = self._store.landing_tip(names.landing_branch(self.branch))
        if tip is None:
            return None
        if tip.to and found and await self._repository.is_ancestor(tip.to, found):
            return tip.to
        return tip.at or None

    async def _foreign(self, found: str | None, tip: str) -> str:
        if found is None or await self._repository.is_ancestor(found, tip):
            return ""
        return found

    async def _compare(self, branch: str, at: str, target: str, landed: str | None) -> Standing:
        if landed is None or await self._repository.is_ancestor(landed, target):
            return Standing(branch, at, target, target, diverged=False)
        ahead = await self._repository.is_ancestor(target, landed)
        return Standing(branch, at, target, landed, diverged=not ahead)


async def default_target(repository: Repository) -> str:
    """Return the branch that the repository's HEAD names; empty where it is detached."""
    return await repository.user.optional("symbolic-ref", "--quiet", "--short", "HEAD") or ""


def _busy(common_folder: Path, ref: str) -> list[Path]:
    """Return the checkouts that rebase or bisect a branch: their HEAD is detached meanwhile."""
    folders = (common_folder, *common_folder.glob("worktrees/*"))
    return [_checkout_of(folder) for folder in folders if ref in _busy_refs(folder)]


def _busy_refs(folder: Path) -> set[str]:
    files = ("rebase-merge/head-name", "rebase-apply/head-name")
    refs = {_first_line(folder / name) for name in files}
    return {*refs, f"refs/heads/{_first_line(folder / 'BISECT_START')}"}


def _checkout_of(folder: Path) -> Path:
    """Return the checkout that a git folder belongs to."""
    link = _first_line(folder / "gitdir")
    return Path(link or folder).parent


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""
