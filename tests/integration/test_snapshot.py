"""Snapshots: everything that git does not ignore, and nothing of the worktree's own touched."""

import asyncio
import os
from pathlib import Path

import pytest
from coord_integrator.git import GitError
from coord_integrator.repository import Repository
from coord_integrator.snapshot import Snapshots

from tests.integrator_rig import commit, git, make_repository, write


class Desk:
    """A repository, a worktree of it, and what takes snapshots."""

    def __init__(self, tmp_path: Path) -> None:
        self.repo = make_repository(tmp_path / "repo")
        commit(self.repo, {".gitignore": "*.log\n"})
        self.worktree = tmp_path / "w1"
        git(self.repo, "worktree", "add", "-q", "--no-track", "-b", "work", str(self.worktree))
        self.folder = tmp_path / "integrator"
        self.folder.mkdir()
        self.repository: Repository | None = None

    async def capture(self) -> str:
        """Take a snapshot and return its tree."""
        if self.repository is None:
            self.repository = await Repository.open(self.repo, self.folder)
        snapshots = Snapshots(self.repository)
        await snapshots.open()
        head = git(self.worktree, "rev-parse", "HEAD")
        taken = await snapshots.capture("w1", self.worktree, head, "work")
        assert await self.repository.own.text("rev-parse", f"{taken.commit}^") == head
        return taken.tree

    def show(self, tree: str) -> dict[str, str]:
        """Return what is in each file of a tree."""
        own = self.folder / "repo.git"
        names = git(own, "ls-tree", "-r", "--name-only", tree).splitlines()
        return {name: git(own, "cat-file", "blob", f"{tree}:{name}") for name in names}

    def index(self) -> tuple[bytes, int]:
        """Return the worktree's own index and when it was written."""
        path = Path(git(self.worktree, "rev-parse", "--absolute-git-dir")) / "index"
        return path.read_bytes(), path.stat().st_mtime_ns


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_it_holds_what_is_on_disk_and_leaves_the_index_alone(desk: Desk) -> None:
    write(desk.worktree, {"a.txt": "staged\n"})
    git(desk.worktree, "add", "a.txt")
    write(desk.worktree, {"a.txt": "on disk\n", "dir/new.txt": "new\n", "x.log": "ignored\n"})
    before = desk.index()
    tree = await desk.capture()

    assert desk.index() == before
    assert desk.show(tree) == {".gitignore": "*.log", "a.txt": "on disk", "dir/new.txt": "new"}


async def test_an_ignored_file_that_is_tracked_is_kept(desk: Desk) -> None:
    write(desk.worktree, {"x.log": "added by force\n"})
    git(desk.worktree, "add", "-f", "x.log")
    assert desk.show(await desk.capture())["x.log"] == "added by force"
    git(desk.worktree, "commit", "-q", "-m", "log")
    write(desk.worktree, {"x.log": "later\n"})
    assert desk.show(await desk.capture())["x.log"] == "later"


async def test_what_only_the_user_excludes_is_ignored(desk: Desk) -> None:
    (desk.repo / ".git" / "info" / "exclude").write_text("private\n")
    write(desk.worktree, {"private": "p\n"})
    assert "private" not in desk.show(await desk.capture())


async def test_nested_repositories_are_kept_as_files(desk: Desk) -> None:
    for name in ("empty", "full", "full/inner"):
        (desk.worktree / name).mkdir()
        git(desk.worktree / name, "init", "-q")
        git(desk.worktree / name, "config", "user.name", "n")
        git(desk.worktree / name, "config", "user.email", "n@example.org")
    commit(desk.worktree / "full" / "inner", {"i.txt": "inner\n"})
    commit(desk.worktree / "full", {"f.txt": "full\n"})
    write(desk.worktree, {"empty/e.txt": "empty\n"})

    shown = desk.show(await desk.capture())
    assert (shown["empty/e.txt"], shown["full/f.txt"]) == ("empty", "full")
    assert shown["full/inner/i.txt"] == "inner"


async def test_a_nested_repository_that_was_committed_as_a_link_is_kept_as_files(
    desk: Desk,
) -> None:
    nested = desk.worktree / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    git(nested, "config", "user.name", "n")
    git(nested, "config", "user.email", "n@example.org")
    commit(nested, {"n.txt": "n\n"})
    git(desk.worktree, "-c", "advice.addEmbeddedRepo=false", "add", "nested")
    git(desk.worktree, "commit", "-q", "-m", "link")

    assert desk.show(await desk.capture())["nested/n.txt"] == "n"


async def test_a_real_submodule_stays_a_link(desk: Desk, tmp_path: Path) -> None:
    library = make_repository(tmp_path / "library")
    allow = ("-c", "protocol.file.allow=always")
    git(desk.worktree, *allow, "submodule", "--quiet", "add", str(library), "lib")
    tree = await desk.capture()

    own = desk.folder / "repo.git"
    assert git(own, "ls-tree", tree, "lib").split()[:2] == ["160000", "commit"]


async def test_an_edit_of_the_same_size_within_a_tick_is_seen(desk: Desk) -> None:
    write(desk.worktree, {"a.txt": "1111\n"})
    stat = (desk.worktree / "a.txt").stat()
    first = await desk.capture()
    write(desk.worktree, {"a.txt": "2222\n"})
    os.utime(desk.worktree / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = await desk.capture()

    assert desk.show(first)["a.txt"] == "1111"
    assert desk.show(second)["a.txt"] == "2222"


async def test_a_sparse_worktree_loses_nothing(desk: Desk) -> None:
    commit(desk.worktree, {"in/i.txt": "in\n", "out/o.txt": "out\n"})
    git(desk.worktree, "sparse-checkout", "set", "in")
    assert not (desk.worktree / "out").exists()
    write(desk.worktree, {"in/i.txt": "changed\n"})

    shown = desk.show(await desk.capture())
    assert (shown["in/i.txt"], shown["out/o.txt"]) == ("changed", "out")


async def test_what_cannot_be_read_fails_the_snapshot(desk: Desk) -> None:
    await desk.capture()
    # A link to the objects of a repository that is not there cannot be hashed.
    nested = desk.worktree / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    write(nested, {"n.txt": "n\n"})
    objects = desk.folder / "repo.git" / "objects"
    objects.rename(objects.with_name("hidden"))
    with pytest.raises(GitError):
        await desk.capture()


async def test_deletions_and_links_are_kept(desk: Desk) -> None:
    (desk.worktree / "a.txt").unlink()
    (desk.worktree / "link").symlink_to("nowhere")
    shown = desk.show(await desk.capture())
    assert "a.txt" not in shown
    assert shown["link"] == "nowhere"


async def test_what_says_how_files_are_read_is_copied_by_many_at_once(tmp_path: Path) -> None:
    repo, own = make_repository(tmp_path / "repo"), tmp_path / "own"
    own.mkdir()
    write(repo, {".git/info/attributes": "*.txt text\n"})
    repository = await Repository.open(repo, own)
    for number in range(20):
        info = tmp_path / f"info-{number}"
        copies = (asyncio.to_thread(repository.copy_info, info) for _ in range(8))
        await asyncio.gather(*copies)
        assert sorted(path.name for path in info.iterdir()) == ["attributes", "exclude"]
