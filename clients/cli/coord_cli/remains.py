"""What Coord's runs leave in a repository and in its state folder, and what of it has landed."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from coord_host.places import locate

from coord_cli.git import git, git_items, git_succeeds, run_git
from coord_cli.kept_work import LEFT_BEHIND

LANDING = "refs/coord/landing"
REPORT = "report"
UNLANDED = "has not landed"
_WIP = "refs/coord/wip/"
_HEADS = "refs/heads/"
_OWN_HEADS = "refs/heads/coord/"


@dataclass(frozen=True)
class Remain:
    """Something that a run has left.

    Attributes:
        kind: `worktree`, `branch`, `kept work`, `folder`, `log` or `report`.
        name: The ref or the path.
        size: Bytes on disk; 0 for refs.
        why: Why it stays; empty where it may go.
        commit: What a ref names.
    """

    kind: str
    name: str
    size: int = 0
    why: str = ""
    commit: str = ""


def refs_left(
    repo: Path, tip: str, landing_branch: str, landed: Collection[str], leaving: Collection[str]
) -> list[Remain]:
    """Return Coord's refs in a repository, but for the landing branch.

    Args:
        repo: The repository.
        tip: The newest landed commit, or a branch: what it contains has landed.
        landing_branch: The branch that landings move.
        landed: The wip refs of changes that have landed in another form, as by squashing. What
            their attempts have left behind goes with them.
        leaving: The worktrees that are about to be removed.
    """
    used = {ref for ref, place in checked_out(repo).items() if place not in leaving}
    gone = {ref for ref, _ in _own_refs(repo, f"--merged={tip}")}.union(landed)
    attempts = {_attempt(ref) for ref in landed}
    skipped = {LANDING, f"{_HEADS}{landing_branch}"}
    return [
        _judge(ref, commit, landed=ref in gone or _is_left_by(ref, attempts), used=ref in used)
        for ref, commit in _own_refs(repo)
        if ref not in skipped
    ]


def landing_left(repo: Path, target: str) -> list[Remain]:
    """Return the landing branch of a target, where it is there."""
    ref = f"{_OWN_HEADS}{target}"
    commit = git(repo, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if not commit:
        return []
    merged = git_succeeds(repo, "merge-base", "--is-ancestor", commit, f"{_HEADS}{target}")
    why = "" if merged else f"has commits that {target} lacks: git merge coord/{target}"
    return [Remain("branch", ref, why=why, commit=commit)]


def folders_left(worktrees: Path) -> list[Remain]:
    """Return the folders among the worktrees that no integrator has kept as a commit."""
    places = (worktrees, worktrees / ".unkept", worktrees / ".removed")
    folders = [
        path
        for place in places
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path not in places
    ]
    why = "is in no commit: git could not keep it, or nobody has asked it to"
    return [Remain("folder", str(path), size_of(path), why) for path in folders]


def logs_left(logs: Sequence[Path]) -> list[Remain]:
    """Return logs that are there."""
    return [Remain("log", str(path), size_of(path)) for path in logs if path.exists()]


def reports_left(reports: Path, complete: Collection[str]) -> list[Remain]:
    """Return the reports of runs.

    Args:
        reports: The folder that has them.
        complete: The tasks that have landed by now. A report stays while it has others.
    """
    folders = sorted(reports.iterdir()) if reports.is_dir() else []
    return [
        Remain(REPORT, str(folder), size_of(folder), _why_report(folder, complete))
        for folder in folders
    ]


def _why_report(folder: Path, complete: Collection[str]) -> str:
    try:
        tasks = json.loads((folder / "report.json").read_text())["tasks"]
        left = {task["id"] for task in tasks if task["state"] != "COMPLETE"} - set(complete)
    except (OSError, ValueError, KeyError, TypeError):
        return "is not a whole report"
    return f"tells of tasks that have not landed, such as {min(left)}" if left else ""


def delete_refs(repo: Path, remains: Sequence[Remain]) -> None:
    """Delete refs, each only where it still names the commit that was looked at.

    Raises:
        OSError: Git has refused; nothing was deleted then.
    """
    there = set(_own_refs(repo))
    left = [one for one in remains if (one.name, one.commit) in there]
    lines = "".join(f"delete {one.name} {one.commit}\n" for one in left)
    done = run_git(repo, "update-ref", "--stdin", stdin=lines)
    if done.returncode != 0:
        raise OSError(f"git has not deleted Coord's refs: {done.stderr.strip()}")


def size_of(path: Path) -> int:
    """Return how many bytes a file, or all files below a folder, take on disk."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(one.lstat().st_blocks * 512 for one in found if one.exists())


def _own_refs(repo: Path, *flags: str) -> list[tuple[str, str]]:
    form = "--format=%(refname) %(objectname)"
    lines = git(repo, "for-each-ref", form, *flags, "refs/coord", _OWN_HEADS).splitlines()
    return [(ref, commit) for ref, _, commit in (line.partition(" ") for line in lines)]


def _attempt(wip_ref: str) -> str:
    """Return the beginning of a wip ref that names worker and fencing token."""
    folder, _, name = wip_ref.rpartition("/")
    return f"{folder}/{name.partition('-')[0]}"


def _is_left_by(ref: str, attempts: Collection[str]) -> bool:
    return ref.endswith(LEFT_BEHIND) and _attempt(ref) in attempts


def _judge(ref: str, commit: str, *, landed: bool, used: bool) -> Remain:
    kind = "kept work" if ref.startswith(_WIP) else "branch"
    why = "" if landed else UNLANDED
    return Remain(kind, ref, why="is checked out" if used else why, commit=commit)


def checked_out(repo: Path) -> dict[str, str]:
    """Return where each branch is checked out, by its full name."""
    found, place = {}, ""
    for item in git_items(repo, "worktree", "list", "--porcelain", "-z"):
        key, _, value = item.partition(" ")
        if key == "worktree":
            place = value
        elif key == "branch":
            found[value] = place
    return found


def other_states(repo: Path, state: Path) -> list[Path]:
    """Return other state folders from which Coord works on a repository.

    That is the usual one, and those that have worktrees of it now.
    """
    states = {Path(place).parent.parent for place in checked_out(repo).values()}
    states.add(locate(repo).state)
    mine = state.resolve()
    return sorted(one for one in states if (one / "integrator").is_dir() and one.resolve() != mine)
