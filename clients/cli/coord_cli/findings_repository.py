"""What `coord doctor` looks for in a repository: its HEAD, locks, worktrees and Coord's refs."""

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
from coord.environment import SYSTEM
from coord.times import SECOND
from coord_host.places import Place

from coord_cli.amounts import count
from coord_cli.findings import Finding
from coord_cli.git import git, git_items, run_git

_LOCK_AGE_S = 60
# What the integrator's own lock on the index holds; it mends that by itself.
_OWN_LOCK = b"coord: "
_KEPT = "refs/coord/wip/%doctor"


def repository_findings(place: Place, repo: Path, *, running: bool) -> Iterator[Finding]:
    """Look at a repository.

    Args:
        place: The project.
        repo: Its repository.
        running: Whether its services run: what they use is left alone then.
    """
    yield from _identity(repo)
    if not _is_worktree_of_a_worker(place, repo):
        yield from _head(repo)
    yield from _unwritable(repo)
    yield from _locks(place, repo)
    if not running:
        yield from _worktrees(place, repo)
    yield from _unlanded(repo)


def _identity(repo: Path) -> Iterator[Finding]:
    if not (git(repo, "config", "user.name") and git(repo, "config", "user.email")):
        yield Finding(
            "git does not know your name and e-mail address",
            "Coord's commits are made as `coord <coord@localhost>` then",
            "git config --global user.name NAME; git config --global user.email ADDRESS",
            wrong=False,
        )


def _is_worktree_of_a_worker(place: Place, repo: Path) -> bool:
    """Tell whether an agent asks in its own worktree, which is on a branch of Coord's rightly."""
    return repo.resolve().is_relative_to(place.state.resolve())


def _head(repo: Path) -> Iterator[Finding]:
    branch = git(repo, "symbolic-ref", "--quiet", "--short", "HEAD")
    if not branch:
        yield Finding(
            "HEAD is detached",
            "nothing says where changes are to land",
            "check out a branch, or name one with --target",
        )
    elif branch.startswith("coord/"):
        yield Finding(
            f"the checkout is on {branch}, a branch of Coord's own",
            "Coord does not move it while a checkout has it, so nothing lands",
            "check out a branch of yours",
        )
    elif not git(repo, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        yield Finding(
            f"{branch} has no commit yet",
            "worktrees start from a commit",
            "make a first commit",
        )


def _unwritable(repo: Path) -> Iterator[Finding]:
    folder = _common(repo)
    if not os.access(folder, os.W_OK):
        yield Finding(
            f"{folder} cannot be written to",
            "Coord keeps branches and agents' work in it",
            "make it writable, or work on a clone",
        )


def _locks(place: Place, repo: Path) -> Iterator[Finding]:
    """Look for locks that a dead git has left."""
    common = _common(repo)
    patterns = ("*.lock", "worktrees/*/*.lock", "refs/**/*.lock")
    found = [path for pattern in patterns for path in common.glob(pattern)]
    stale = [path for path in found if path.name != "coord.lock" and _is_stale(path)]
    if not stale or _git_is_at_work(repo, common):
        return
    for path in stale:
        yield Finding(
            f"{path} was left by a git that has died",
            "git refuses to write while it is there",
            f"move it to {place.state / 'doctor'}",
            mend=partial(_move_away, path, place.state / "doctor"),
        )


def _is_stale(path: Path) -> bool:
    try:
        age_ns = SYSTEM.now_ns() - path.stat().st_mtime_ns
        return age_ns > _LOCK_AGE_S * SECOND and not path.read_bytes().startswith(_OWN_LOCK)
    except OSError:
        return False


def _git_is_at_work(repo: Path, common: Path) -> bool:
    """Tell whether a git runs that may work in a repository or in one of its worktrees."""
    listed = _blocks(git_items(repo, "worktree", "list", "--porcelain", "-z"))
    folders = [common, *(Path(block["worktree"]).resolve() for block in listed)]
    gits = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "git"]
    return any(_may_work_in(process, folders) for process in gits)


def _may_work_in(process: psutil.Process, folders: list[Path]) -> bool:
    """Tell whether a git works in one of some folders; one that keeps its place to itself may."""
    try:
        places = [Path(process.cwd()), Path(process.cwd(), process.environ().get("GIT_DIR", ""))]
        named = [word for word in process.cmdline() if word.startswith("--git-dir")]
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    inside = (place.resolve().is_relative_to(folder) for place in places for folder in folders)
    return bool(named) or any(inside)


def _move_away(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    places = (folder / f"{number}-{path.name}" for number in itertools.count(1))
    next(place for place in places if not place.exists()).write_bytes(path.read_bytes())
    path.unlink()


def _worktrees(place: Place, repo: Path) -> Iterator[Finding]:
    """Look for what is amiss with worktrees of Coord's, and for folders that are none any more."""
    root = place.state / "worktrees"
    listed = _blocks(git_items(repo, "worktree", "list", "--porcelain", "-z"))
    known = {Path(block["worktree"]): block for block in listed}
    for path, block in known.items():
        if path.parent == root and path.exists():
            yield from _worktree(repo, path, block)
        elif path.parent == root:
            yield Finding(
                f"the folder of the worktree {path} is gone",
                "git still holds its branch checked out",
                "keep the commit that it stood on, and make git forget it",
                mend=partial(_forget, repo, path, block.get("HEAD", "")),
            )
    folders = sorted(root.iterdir()) if root.is_dir() else []
    for path in folders:
        if path not in known and not path.name.startswith("."):
            yield _unknown(path)


def _worktree(repo: Path, path: Path, block: dict[str, str]) -> Iterator[Finding]:
    head = block.get("HEAD", "")
    if "locked" in block:
        yield Finding(
            f"the worktree {path} is locked: {block['locked'] or 'no reason is given'}",
            "git does not remove it, and nothing of Coord's locks its worktrees for long",
            "unlock it",
            mend=partial(_unlock, repo, path),
        )
    if "detached" in block and not _is_named(repo, head):
        yield Finding(
            f"the worktree {path} stands on {head[:10]}, which no branch leads to",
            "an agent has left its branch; git drops what is committed there with the worktree",
            f"keep that commit below {_KEPT}",
            mend=partial(_keep, repo, path, head),
        )
    if "branch" in block and not head.strip("0"):
        yield _without_branch(repo, path, block["branch"])


def _is_named(repo: Path, commit: str) -> bool:
    """Tell whether a branch or kept work leads to a commit."""
    spaces = ("refs/heads", "refs/coord/wip")
    return bool(git(repo, "for-each-ref", "--count=1", f"--contains={commit}", *spaces))


def _unknown(path: Path) -> Finding:
    return Finding(
        f"git does not know the worktree {path} any more",
        "what is in it is in its files alone",
        "its worker's next attempt keeps it as a commit first, as does `coord clean`",
        wrong=False,
    )


def _blocks(items: list[str]) -> list[dict[str, str]]:
    blocks: list[dict[str, str]] = []
    for item in items:
        name, _, value = item.partition(" ")
        if name == "worktree":
            blocks.append({})
        if name:
            blocks[-1][name] = value
    return blocks


def _without_branch(repo: Path, path: Path, ref: str) -> Finding:
    commit = _last_commit(path)
    return Finding(
        f"the branch {ref.removeprefix('refs/heads/')} of the worktree {path} is gone",
        "what was committed there is in its reflog alone",
        f"make it anew at {commit[:10]}, where it was" if commit else "its next attempt makes one",
        wrong=bool(commit),
        mend=partial(_make_branch, repo, ref, commit) if commit else None,
    )


def _last_commit(path: Path) -> str:
    """Return the commit that a worktree without a branch stood on last; empty for none."""
    log = Path(git(path, "rev-parse", "--absolute-git-dir")) / "logs" / "HEAD"
    try:
        last = log.read_text(errors="replace").splitlines()[-1]
    except (OSError, IndexError):
        return ""
    old, new = last.split(" ")[:2]
    commit = new if new.strip("0") else old
    return git(path, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")


def _make_branch(repo: Path, ref: str, commit: str) -> None:
    run_git(repo, "update-ref", ref, commit, "").check_returncode()


def _unlock(repo: Path, path: Path) -> None:
    run_git(repo, "worktree", "unlock", str(path)).check_returncode()


def _keep(repo: Path, path: Path, commit: str) -> None:
    run_git(repo, "update-ref", f"{_KEPT}/{path.name}-{commit[:16]}", commit).check_returncode()


def _forget(repo: Path, path: Path, commit: str) -> None:
    if commit.strip("0"):
        _keep(repo, path, commit)
    run_git(repo, "worktree", "remove", "-f", "-f", str(path)).check_returncode()


def _unlanded(repo: Path) -> Iterator[Finding]:
    branch = git(repo, "symbolic-ref", "--quiet", "--short", "HEAD")
    ahead = git(repo, "rev-list", "--count", f"{branch}..refs/heads/coord/{branch}")
    if ahead not in {"", "0"}:
        yield Finding(
            f"{branch} lacks {count(int(ahead), 'landed commit')} of coord/{branch}",
            "what has passed the check is not on your branch",
            f"git merge coord/{branch}",
            wrong=False,
        )
    landed = f"coord/{branch}" if ahead else "HEAD"
    flags = ("--format=%(refname)", f"--no-merged={landed}")
    kept = git(repo, "for-each-ref", *flags, "refs/coord/wip").splitlines()
    if kept:
        yield Finding(
            f"the work of {count(len(kept), 'attempt')} is kept that has not landed, such as"
            f" {kept[0]}",
            "failed and lost attempts stay reachable until you remove them",
            "look with git log REF; remove with `coord clean --discard REF`",
            wrong=False,
        )


def _common(repo: Path) -> Path:
    return Path(git(repo, "rev-parse", "--path-format=absolute", "--git-common-dir")).resolve()
