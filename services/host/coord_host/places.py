"""Where a project's state lives: outside of the repository, and not where reboots clear."""

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from coord.errors import invalid_argument, unavailable
from coord.identity import PROJECT, STATE
from coord.times import SECOND

# What git says of a repository in a form that it does not know, such as one with reftable.
_TOO_NEW = ("unknown repository extension", "Expected git repo version")
_HASH_DIGITS = 10
_NAME_MAX = 80
_DEFAULT_PROJECT = "default"
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Place:
    """A project and its folders.

    Attributes:
        project: Its name.
        repo: Top folder of its repository, or the repository itself where it is bare; None for
            tasks that are not work on a repository.
        state: Its state folder.
        shares: Whether it is an account: rate limits and money that projects share, and no more.
    """

    project: str
    repo: Path | None
    state: Path
    shares: bool = False


def locate_account(name: str) -> Place:
    """Return where an account is that several projects share.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_ACCOUNT.
    """
    if not _ACCOUNT.fullmatch(name):
        raise invalid_argument(
            "INVALID_ACCOUNT", f"an account has 1 to 64 characters of [A-Za-z0-9_-], not {name!r}"
        )
    return Place(f"account-{name}", None, _state_root() / "accounts" / name, shares=True)


def locate(repo: Path | None, state: Path | None = None) -> Place:
    """Return where the project of a repository is.

    All worktrees of a repository share one place. The state is in `coord/<name>-<hash>` below the
    XDG state folder, unless `state` names another folder. In the shell of an agent it is where its
    worker's project keeps it.

    Raises:
        CoordError: INVALID_ARGUMENT with reason NOT_A_REPOSITORY; UNAVAILABLE with reason GIT_ENDED
            where git was killed while it was asked.
    """
    if repo is None:
        return Place(_DEFAULT_PROJECT, None, state or _state_root() / _DEFAULT_PROJECT)
    common = Path(_git(repo, "--git-common-dir"))
    bare = _git(repo, "--is-bare-repository") == "true"
    top = common if bare else Path(_git(repo, "--show-toplevel"))
    name = common.name if bare else common.parent.name
    project = f"{_safe(name)}-{_hash(common)}"
    return Place(project, top, (state or _told(project) or _state_root() / project).absolute())


def _git(repo: Path, question: str) -> str:
    command = ["git", "-C", str(repo), "rev-parse", "--path-format=absolute", question]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours.
            command, capture_output=True, text=True, check=True, env=environment
        )
    except FileNotFoundError:
        raise invalid_argument("NO_GIT", "git is not installed; Coord needs git 2.39+") from None
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:
            # That says nothing of the repository.
            message = f"git was ended by signal {-error.returncode} in {repo}; try again"
            raise unavailable("GIT_ENDED", message, retry_after_ns=SECOND) from None
        complaint = " ".join(error.stderr.split())
        if any(said in complaint for said in _TOO_NEW):
            message = f"this git cannot read {repo}, a newer one might: {complaint}"
        else:
            message = f"{repo} is not (in) a git repository; name one with --repo: {complaint}"
        raise invalid_argument("NOT_A_REPOSITORY", message) from None
    return done.stdout.removesuffix("\n")


def _told(project: str) -> Path | None:
    """Return the state folder that an agent's shell names, where it is that project's."""
    told = os.environ.get(STATE)
    return Path(told) if told and os.environ.get(PROJECT) == project else None


def _state_root() -> Path:
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "coord"


def _safe(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", name.removesuffix(".git")).strip("-")
    return kept[:_NAME_MAX] or "repo"


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:_HASH_DIGITS]
