"""Repositories as users bring them: each works, or is refused with what to do about it.

In any case the user's checkout stays as it is, byte for byte, but for a fast-forward.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.repositories import ENVIRONMENT, git, make_repository

COORD = [sys.executable, "-c", "from coord_cli.main import main; main()"]
AGENT = "cat >$COORD_TASK_ID.txt"
PLAN = "[[tasks]]\nid = 'a'\nprompt = 'x'\n"
NAMESPACE = ("--mount",) if os.geteuid() == 0 else ("--mount", "--map-root-user")


@dataclass(frozen=True)
class Odd:
    """A repository, and what comes of a run on it.

    Attributes:
        make: Makes it in a folder; returns what `--repo` names.
        status: The exit code.
        said: What is said.
        landed: The branch that has the work; empty for none.
        options: Further options.
        follows: Whether the user's checkout is brought along.
    """

    make: Callable[[Path], Path]
    status: int = 0
    said: str = "1 of 1 tasks landed"
    landed: str = "coord/main"
    options: tuple[str, ...] = field(default=())
    follows: bool = False


def refused(make: Callable[[Path], Path], said: str, *options: str) -> Odd:
    return Odd(make, 2, said, "", options)


def tmpfs(folder: Path, size: str) -> str:
    """Return the commands that put a folder, as it is, on a disk of its own."""
    mount = f"mount -t tmpfs -o size={size} tmpfs '{folder}'"
    return f"cp -a '{folder}' '{folder}.old'; {mount}; cp -a '{folder}.old/.' '{folder}'"


def usual(folder: Path) -> Path:
    return make_repository(folder / "repo")


def dirty(folder: Path) -> Path:
    repo = usual(folder)
    (repo / "README").write_text("changed\n")
    (repo / "staged").write_text("staged\n")
    git(repo, "add", "staged")
    (repo / "loose").write_text("loose\n")
    return repo


def detached(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "checkout", "-q", "--detach")
    return repo


def empty(folder: Path) -> Path:
    git(folder, "init", "-q", "-b", "main", "repo")
    return folder / "repo"


def bare(folder: Path) -> Path:
    git(folder, "clone", "-q", "--bare", str(usual(folder)), "bare.git")
    return folder / "bare.git"


def shallow(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "commit", "-q", "--allow-empty", "-m", "Second")
    git(folder, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    return folder / "shallow"


def sha256(folder: Path) -> Path:
    repo = folder / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main", "--object-format=sha256")
    git(repo, "commit", "-q", "--allow-empty", "-m", "Begin")
    return repo


def partial(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "config", "uploadpack.allowFilter", "true")
    (repo / "README").write_text("Another text.\n")
    git(repo, "commit", "-q", "-a", "-m", "Second")
    git(folder, "clone", "-q", "--filter=blob:none", f"file://{repo}", "partial")
    return folder / "partial"


def made_whole(folder: Path) -> Path:
    repo = partial(folder)
    git(repo, "fetch", "-q", "--refetch", "--no-filter")
    return repo


def master(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "branch", "-q", "-m", "trunk")
    return repo


def subfolder(folder: Path) -> Path:
    inner = usual(folder) / "inner"
    inner.mkdir()
    return inner


def sparse(folder: Path) -> Path:
    repo = usual(folder)
    for name in ("in", "out"):
        (repo / name).mkdir()
        (repo / name / "file").write_text(f"{name}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "Folders")
    git(repo, "sparse-checkout", "set", "in")
    return repo


def git_folder_elsewhere(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "init", "-q", "--separate-git-dir", str(folder / "git"))
    return repo


def with_branch(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        repo = usual(folder)
        git(repo, "branch", name)
        return repo

    return make


def on_own_branch(folder: Path) -> Path:
    repo = usual(folder)
    git(repo, "checkout", "-q", "-b", "coord/main")
    return repo


def worktree_folder(folder: Path) -> Path:
    there = folder / "state" / "worktrees" / "w1"
    there.mkdir(parents=True)
    (there / "precious").write_text("precious\n")
    return usual(folder)


def no_folder(folder: Path) -> Path:
    return folder / "nowhere"


def plain_folder(folder: Path) -> Path:
    (folder / "plain").mkdir()
    return folder / "plain"


def plain_file(folder: Path) -> Path:
    return usual(folder) / "README"


ODD = {
    "one commit": Odd(usual, follows=True),
    "uncommitted work": Odd(dirty),
    "detached": refused(detached, "HEAD is detached: name the branch to land on with --target"),
    "detached, target named": Odd(detached, landed="main", options=("--target", "main")),
    "no commit": refused(empty, "make a first commit"),
    "bare": Odd(bare, landed="main"),
    "shallow": Odd(shallow, follows=True),
    "sha256": Odd(sha256, follows=True),
    "partial": refused(partial, "get them with `git fetch --refetch --no-filter`"),
    "partial, made whole": Odd(made_whole, follows=True),
    "branch not called main": Odd(master, landed="coord/trunk", follows=True),
    "subfolder": Odd(subfolder, follows=True),
    "sparse": Odd(sparse, follows=True),
    "git folder elsewhere": Odd(git_folder_elsewhere, follows=True),
    "attempt's branch is there": Odd(with_branch("coord/w1/a"), follows=True),
    "branch in the way": refused(with_branch("coord"), "git branch -m coord NAME"),
    "on Coord's own branch": refused(on_own_branch, "name one of yours with --target"),
    "worktree's folder is there": Odd(worktree_folder, follows=True),
    "no such folder": refused(no_folder, "is not (in) a git repository; name one with --repo"),
    "folder without repository": refused(plain_folder, "is not (in) a git repository"),
    "a file": refused(plain_file, "is not (in) a git repository"),
}


def git_folder(repo: Path) -> Path:
    return Path(git(repo, "rev-parse", "--absolute-git-dir"))


def state_of(repo: Path) -> dict[str, object]:
    """Return HEAD, the index and each file of a checkout with its time."""
    top = next((one for one in (repo, *repo.parents) if (one / ".git").exists()), None)
    if top is None:
        return {}
    paths = [path for path in top.rglob("*") if path.is_file() and ".git" not in path.parts]
    paths += [
        path for path in (git_folder(top) / "index", git_folder(top) / "HEAD") if path.exists()
    ]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


async def run(
    repo: Path,
    folder: Path,
    *options: str,
    plan: str = PLAN,
    agent: str = AGENT,
    before: str = "",
    after: str = "",
) -> tuple[int, str]:
    """Run a plan; with `before`, in a mount namespace of its own, after that and before `after`.

    What is said can be read in `output` in the folder meanwhile.
    """
    (folder / "plan.toml").write_text(plan)
    where = ("--repo", str(repo), "--state", str(folder / "state"))
    how = ("--agent", agent, "--workers", "1", "--check", "true", "--stuck-after", "0.5")
    command = [*COORD, "run", str(folder / "plan.toml"), *where, *how, *options]
    if before:
        script = f'{before}\n"$@" || exit $?\n{after}'
        command = ["unshare", *NAMESPACE, "sh", "-ec", script, "sh", *command]
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env=ENVIRONMENT
        )
        status = await process.wait()
    return status, (folder / "output").read_text()


@pytest.mark.parametrize("name", ODD)
async def test_a_run_works_or_says_what_to_do(tmp_path: Path, name: str) -> None:
    odd, folder = ODD[name], tmp_path / "path with späces ✓"
    folder.mkdir()
    repo = odd.make(folder)
    before = state_of(repo)
    status, output = await run(repo, folder, *odd.options)

    assert (status, odd.said in output) == (odd.status, True), output
    assert "Traceback" not in output
    if odd.landed:
        assert git(git_folder(repo), "show", f"{odd.landed}:a.txt") == "x"
    after = state_of(repo)
    if odd.follows:
        top = Path(git(repo, "rev-parse", "--show-toplevel"))
        index, new = str(git_folder(repo) / "index"), str(top / "a.txt")
        assert after.pop(new) is not None
        assert before.pop(index) != after.pop(index)
        assert git(repo, "status", "--porcelain", "--untracked-files=no") == ""
    assert after == before


async def test_a_form_of_repository_that_git_does_not_know_is_refused(tmp_path: Path) -> None:
    repo = usual(tmp_path)
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.refsInTheSky", "true")
    status, output = await run(repo, tmp_path)
    assert (status, f"this git cannot read {repo}" in output) == (2, True), output
    assert "Traceback" not in output


async def test_what_lay_in_a_worktrees_folder_is_kept(tmp_path: Path) -> None:
    repo = worktree_folder(tmp_path)
    await run(repo, tmp_path)
    refs = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/wip").split()
    kept = [ref for ref in refs if "precious" in git(repo, "ls-tree", "--name-only", ref)]
    assert [git(repo, "show", f"{ref}:precious") for ref in kept] == ["precious"]


async def test_files_that_a_sparse_checkout_leaves_out_do_not_come_or_go(tmp_path: Path) -> None:
    repo = sparse(tmp_path)
    status, output = await run(repo, tmp_path, plan=PLAN + PLAN.replace("'a'", "'b'"))
    worktree = tmp_path / "state" / "worktrees" / "w1"

    assert (status, "2 of 2 tasks landed" in output) == (0, True), output
    assert [(one / "out").exists() for one in (repo, worktree)] == [False, False]
    assert git(repo, "show", "main:out/file") == "out"
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == [
        "README", "a.txt", "b.txt", "in/file", "out/file",
    ]  # fmt: skip


async def test_commits_have_a_name_where_git_knows_none(tmp_path: Path) -> None:
    repo = usual(tmp_path)
    git(repo, "config", "user.email", "")
    await run(repo, tmp_path)
    assert git(repo, "log", "-1", "--format=%an <%ae>", "main") == "coord <coord@localhost>"


async def test_a_read_only_repository_is_refused(tmp_path: Path) -> None:
    repo = usual(tmp_path)
    seen = state_of(repo)
    mount = f"mount --bind '{repo}' '{repo}'; mount -o remount,bind,ro '{repo}'"
    status, output = await run(repo, tmp_path, before=mount)
    assert (status, "cannot be written to" in output) == (2, True), output
    assert state_of(repo) == seen


@pytest.mark.parametrize("full", ["repo", "state"])
async def test_a_disk_without_room_is_refused(tmp_path: Path, full: str) -> None:
    repo, folder = usual(tmp_path), tmp_path / full
    folder.mkdir(exist_ok=True)
    mount = tmpfs(folder, "2m")
    status, output = await run(repo, tmp_path, before=mount)
    assert (status, "MiB are free on the disk of" in output) == (2, True), output


async def test_a_checkout_on_a_full_disk_is_left_as_it_was(tmp_path: Path) -> None:
    """What git could write of a file before the disk was full is taken back."""
    repo = git_folder_elsewhere(tmp_path)
    mount = tmpfs(repo, "256k")
    status, output = await run(
        repo,
        tmp_path,
        before=mount,
        after=f"git -C '{repo}' status --porcelain; ls '{repo}'",
        agent="seq 200000 >a.txt; echo changed >README",
    )
    assert (status, "`git merge coord/main` brings them in" in output) == (0, True), output
    assert output.endswith("\nREADME\n"), output
