"""The user's repository and Coord's own copy of it.

Coord's own is a bare repository with objects of its own. Whatever is kept or queued is fetched
into it first, so that nothing that the user does to his repository, a `gc --prune=now` included,
can break it; and no configuration that an agent can write has a say in it.
"""

import asyncio
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from coord.room import full_disk

from coord_integrator import names
from coord_integrator.filters import Filters
from coord_integrator.git import MARKER, Git, GitError, split

_LIST_TRIES = 10
_LIST_WAIT_S = 0.05
_HAND_OVER_TRIES = 4
_HAND_OVER_WAIT_S = 0.1

_FALLBACK = ("coord", "coord@localhost")
_OWN_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsync", "committed,reference"),
    ("core.logAllRefUpdates", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("uploadpack.allowAnySHA1InWant", "true"),
)
# How the files of a checkout are to be read is the user's to say.
_READING_KEYS = "autocrlf|eol|filemode|ignorecase|precomposeunicode|symlinks"
_READING_PATHS = "attributesfile|excludesfile"
_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-prune",
    "--update-shallow",
)
# A `gc --prune=now` drops loose objects that come before the ref which names them, but no pack that
# comes while it runs.
_AS_PACK = ("-c", "fetch.unpackLimit=1")
# The transport drops the options of the git that fetches.
_UPLOAD = "--upload-pack=git -c safe.directory=* -c uploadpack.allowAnySHA1InWant=true upload-pack"


@dataclass(frozen=True)
class Checkout:
    """One checkout of the user's repository.

    Attributes:
        path: Its top folder.
        branch: What it has checked out, as a full ref; empty where HEAD is detached.
        bare: Whether it is a bare repository without files.
    """

    path: Path
    branch: str
    bare: bool


@dataclass(frozen=True)
class Repository:
    """Both repositories.

    Attributes:
        user: Runs git in the user's repository.
        own: Runs git in Coord's.
        common_folder: The git folder that all checkouts of the user's repository share.
        top: The top folder of the checkout that the operator named; None for a bare repository.
        folder: The integrator's own folder.
        filters: What changes files on their way between git and a checkout.
    """

    user: Git
    own: Git
    common_folder: Path
    top: Path | None
    folder: Path
    filters: Filters = field(default_factory=Filters)

    @classmethod
    async def open(cls, path: Path, folder: Path) -> Self:
        """Open the user's repository at `path`, and Coord's own below `folder`.

        Raises:
            GitError: where `path` is not in a git repository.
        """
        user = Git(path, {MARKER: str(folder)})
        common = Path(await user.text("rev-parse", "--path-format=absolute", "--git-common-dir"))
        top = await _top(user)
        user = user.at(top or common)
        user = user.with_variables(**await _identity(user))
        own = await _open_own(user, folder)
        repository = cls(user, own, common, top, folder)
        await asyncio.to_thread(repository.copy_info)
        return repository

    def full_disk(self) -> str:
        """Say which of the two has no room left on its disk; empty for neither."""
        return full_disk(self.folder, self.common_folder)

    async def bring(self, commit: str, ref: str) -> None:
        """Fetch a commit of the user's repository into Coord's own, under `ref`."""
        source = str(self.common_folder)
        await self.own.run(*_FETCH, _UPLOAD, source, f"+{commit}:{ref}")

    async def hand_over(self, commit: str, ref: str) -> None:
        """Fetch a commit of Coord's own repository into the user's, under `ref`."""
        for _ in range(_HAND_OVER_TRIES):
            # A `gc` that runs there meanwhile removes packs that are half written.
            with suppress(GitError):
                await self._hand_over(commit, ref)
                return
            await asyncio.sleep(_HAND_OVER_WAIT_S)
        await self._hand_over(commit, ref)

    async def _hand_over(self, commit: str, ref: str) -> None:
        source = str(self.own.folder)
        flags = ("--no-auto-maintenance", "--no-recurse-submodules", "--refmap=")
        git = self.user.with_options(*_AS_PACK)
        await git.run(*_FETCH, *flags, source, f"+{commit}:{ref}")

    async def keep(self, commit: str, ref: str) -> None:
        """Keep a commit of Coord's own repository under `ref`, in both repositories."""
        await self.own.run("update-ref", ref, commit)
        await self.hand_over(commit, ref)

    async def writing(self) -> Git:
        """Return what writes files of the user's checkouts: of all filters, the listed ones run."""
        return await self.filters.only(self.user)

    async def user_commit(self, ref: str) -> str | None:
        """Return the commit that a ref of the user's repository names; None without one."""
        return await self.user.optional("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")

    async def lacks_objects(self, ref: str) -> bool:
        """Tell whether the user's repository is a partial clone without all that a ref leads to."""
        promised = r"^(extensions\.partialclone|remote\..*\.promisor)$"
        if not await self.user.optional("config", "--get-regexp", promised):
            return False
        flags = ("--objects", "--quiet", "--missing=print")
        return bool(await self.user.text("rev-list", *flags, ref))

    async def kept_commit(self, ref: str) -> str | None:
        """Return the commit that a wip ref of Coord's own repository names; None without one."""
        return await self.own.optional("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")

    async def newest_kept(self, worker: str, token: int) -> str:
        """Return the newest wip ref of the user's repository for an attempt; empty without one."""
        flags = ("--sort=-committerdate", "--format=%(refname)")
        refs = await self.user.text("for-each-ref", *flags, f"{names.wip_ref(worker, token, '')}*")
        return next((ref for ref in refs.splitlines() if not ref.endswith(names.LEFT)), "")

    async def parent(self, commit: str) -> str:
        """Return the first parent of a commit of Coord's own repository; itself without one."""
        found = await self.own.optional("rev-parse", "--verify", "--quiet", f"{commit}^")
        return found or commit

    async def tree(self, commit: str) -> str:
        """Return the tree of a commit of Coord's own repository."""
        return await self.own.text("rev-parse", "--verify", f"{commit}^{{tree}}")

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Tell whether `new` contains `old`, both commits of Coord's own repository."""
        return await self.own.succeeds("merge-base", "--is-ancestor", old, new)

    async def holds(self, commit: str, tip: str) -> bool:
        """Tell whether Coord's own repository has all that a commit brings on top of `tip`."""
        flags = ("--objects", "--quiet")
        return (await self.own.run("rev-list", *flags, commit, f"^{tip}", ok=(0, 128))).status == 0

    async def changes_nothing(self, commit: str, tip: str) -> bool:
        """Tell whether a commit's files are those from which it left the history of `tip`."""
        base = await self.merge_base(commit, tip)
        return base is not None and await self.tree(commit) == await self.tree(base)

    async def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits; None without one."""
        return await self.own.optional("merge-base", one, other)

    async def is_kept(self, commit: str, tip: str) -> bool:
        """Tell whether a commit is in `tip` or under a wip ref of the user's repository."""
        covering = await self.user.text(
            "for-each-ref", "--count=1", "--format=%(refname)", f"--contains={commit}", names.WIP
        )
        if covering:
            return True
        return await self.user.succeeds("merge-base", "--is-ancestor", commit, tip)

    async def move_branch(self, branch: str, new: str, old: str | None, why: str) -> bool:
        """Move a branch of the user's repository from `old` (None: it is new) to `new`.

        Returns:
            False where it is not at `old`.
        """
        ref = f"refs/heads/{branch}"
        try:
            await self.user.run("update-ref", "-m", f"coord: {why}", ref, new, old or "")
        except GitError:
            if await self.user_commit(ref) == old:
                raise
            return False
        return True

    async def checkouts(self) -> list[Checkout]:
        """Return the checkouts of the user's repository."""
        for _ in range(_LIST_TRIES):
            # A worktree that somebody is adding right now is half there, and git gives up on it.
            with suppress(GitError):
                return await self._checkouts()
            await asyncio.sleep(_LIST_WAIT_S)
        return await self._checkouts()

    async def _checkouts(self) -> list[Checkout]:
        items = await self.user.items("worktree", "list", "--porcelain", "-z")
        checkouts = [_checkout(block) for block in _blocks(items)]
        # Where a git folder lies elsewhere, as a submodule's does, git names that for its checkout.
        if self.top is not None and checkouts[0].path == self.common_folder:
            git_folder = Path(await self.user.text("rev-parse", "--absolute-git-dir"))
            if git_folder == self.common_folder:
                checkouts[0] = replace(checkouts[0], path=self.top)
        return checkouts

    async def reading_options(self) -> tuple[str, ...]:
        """Return the user's settings for how the files of a checkout are read, as options."""
        settings = await self._settings(_READING_KEYS)
        settings += await self._settings(_READING_PATHS, "--type=path")
        return tuple(part for setting in settings for part in ("-c", setting))

    async def _settings(self, keys: str, *flags: str) -> list[str]:
        arguments = ("config", "-z", *flags, "--get-regexp", rf"^core\.({keys})$")
        output = await self.user.run(*arguments, ok=(0, 1))
        return [item.replace("\n", "=", 1) for item in split(output.stdout)]

    def copy_info(self, target: Path | None = None, attributes: bytes = b"") -> None:
        """Copy what the user ignores, and his attributes, from `info/` into another.

        Args:
            target: Where to; by default that of Coord's own repository.
            attributes: More attributes; they come last, so that they hold.
        """
        target = target or self.own.folder / "info"
        source = self.common_folder / "info"
        _copy_if_other(source / "attributes", target / "attributes", attributes)
        _copy_if_other(source / "exclude", target / "exclude")


async def _top(user: Git) -> Path | None:
    if await user.text("rev-parse", "--is-inside-work-tree") != "true":
        return None
    return Path(await user.text("rev-parse", "--path-format=absolute", "--show-toplevel"))


async def _identity(user: Git) -> dict[str, str]:
    name = await user.optional("config", "--get", "user.name")
    email = await user.optional("config", "--get", "user.email")
    name, email = (name, email) if name and email else _FALLBACK
    people = ("AUTHOR", "COMMITTER")
    return {
        f"GIT_{person}_{key}": value
        for person in people
        for key, value in (("NAME", name), ("EMAIL", email))
    }


async def _open_own(user: Git, folder: Path) -> Git:
    path = folder / "repo.git"
    algorithm = await user.text("rev-parse", "--show-object-format")
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    maker = Git(folder, {**user.variables, **alone})
    arguments = ("--bare", "--quiet", "--template=", f"--object-format={algorithm}")
    await maker.run("init", *arguments, str(path))
    own = maker.at(path).with_variables(GIT_DIR=str(path))
    for key, value in _OWN_CONFIG:
        await own.run("config", key, value)
    return own


def _blocks(items: list[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for item in items:
        if item:
            blocks[-1].append(item)
        else:
            blocks.append([])
    return [block for block in blocks if block]


def _checkout(lines: list[str]) -> Checkout:
    values = dict(line.partition(" ")[::2] for line in lines)
    return Checkout(Path(values["worktree"]), values.get("branch", ""), "bare" in values)


def _copy_if_other(source: Path, target: Path, more: bytes = b"") -> None:
    content = source.read_bytes() if source.is_file() else b""
    content += more and b"\n" + more
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(exist_ok=True)
    # Several threads may do the same at once.
    fresh = target.with_suffix(f".{threading.get_ident()}")
    fresh.write_bytes(content)
    os.replace(fresh, target)  # noqa: PTH105 - it is atomic, and says so
