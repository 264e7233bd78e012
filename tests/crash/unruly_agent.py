"""What agents do in a worktree, and what they should not do there."""

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.integration.repositories import ENVIRONMENT

IGNORED = "*.ignored"
_NAMES = ("a.txt", "b.txt", "docs/c.md", "docs/deep/d.md", "ünï cödé.txt", "-dash.txt")


class UnrulyAgent:
    """Changes one worktree; each line that it writes is written once in the whole history.

    Args:
        folder: The worktree.
        chance: Decides what it does.
        numbers: Numbers for its lines.
    """

    def __init__(self, folder: Path, chance: Random, numbers: Iterator[int]) -> None:
        self._folder = folder
        self._chance = chance
        self._numbers = numbers

    def act(self) -> str:
        """Do something; return what. A git that refuses is no failure: agents try things."""
        if not self._folder.is_dir():
            return "nothing is there"
        act = self._chance.choice(_ACTS)
        with suppress(OSError):
            act(self)
        return act.__name__.removeprefix("_")

    def _git(self, *arguments: str, folder: Path | None = None) -> None:
        subprocess.run(
            ("git", *arguments),
            cwd=folder or self._folder,
            env=ENVIRONMENT,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def _lines(self) -> str:
        count = self._chance.randint(1, 3)
        return "".join(f"line {number}\n" for number in itertools.islice(self._numbers, count))

    def _append(self) -> None:
        path = self._folder / self._chance.choice(_NAMES)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(self._lines())

    def _replace(self) -> None:
        path = self._folder / self._chance.choice(_NAMES)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._lines())

    def _ignored(self) -> None:
        (self._folder / "notes.ignored").write_text(self._lines())

    def _delete(self) -> None:
        (self._folder / self._chance.choice(_NAMES)).unlink()

    def _stage(self) -> None:
        self._git("add", "-A")

    def _commit(self) -> None:
        self._git("commit", "-q", "-a", "-m", "work")

    def _amend(self) -> None:
        self._git("commit", "-q", "--amend", "-a", "--no-edit")

    def _unstage(self) -> None:
        self._git("reset", "-q")

    def _take_back(self) -> None:
        self._git("reset", "-q", "--hard", "HEAD~1")

    def _stash(self) -> None:
        self._git("stash", "-q", "-u")

    def _hide(self) -> None:
        flag = self._chance.choice(("--assume-unchanged", "--skip-worktree"))
        self._git("update-index", flag, "a.txt")

    def _detach(self) -> None:
        self._git("checkout", "-q", "--detach")

    def _switch(self) -> None:
        self._git("checkout", "-q", "-b", f"own-{next(self._numbers)}")

    def _rebase(self) -> None:
        """Rebase onto another line of work, which mostly stops at a conflict."""
        self._git("commit", "-q", "-a", "-m", "mine")
        self._git("branch", "-f", "elsewhere", "HEAD~1")
        self._git("rebase", "-q", "--onto", "elsewhere~1", "elsewhere")

    def _nest(self) -> None:
        nested = self._folder / "nested"
        nested.mkdir(exist_ok=True)
        self._git("init", "-q", folder=nested)
        (nested / "inside.txt").write_text(self._lines())
        self._git("add", "-A", folder=nested)
        self._git("commit", "-q", "-m", "nested", folder=nested)

    def _drop_branch(self) -> None:
        """Delete the branch that the worktree is on."""
        self._git("update-ref", "-d", "HEAD")

    def _lock(self) -> None:
        pointer = (self._folder / ".git").read_text().removeprefix("gitdir: ").strip()
        (Path(pointer) / "index.lock").touch()

    def _remove_pointer(self) -> None:
        (self._folder / ".git").unlink()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder)

    def _unregister(self) -> None:
        """Let git forget the worktree, with what is in it still there."""
        pointer = (self._folder / ".git").read_text().removeprefix("gitdir: ").strip()
        shutil.rmtree(pointer)


_Act = Callable[[UnrulyAgent], None]
_ACTS: list[_Act] = [
    *[UnrulyAgent._append] * 8,
    *[UnrulyAgent._replace] * 4,
    *[UnrulyAgent._stage] * 3,
    *[UnrulyAgent._commit] * 4,
    *[UnrulyAgent._nest] * 2,
    UnrulyAgent._ignored,
    UnrulyAgent._delete,
    UnrulyAgent._amend,
    UnrulyAgent._unstage,
    UnrulyAgent._take_back,
    UnrulyAgent._stash,
    UnrulyAgent._hide,
    UnrulyAgent._detach,
    UnrulyAgent._switch,
    UnrulyAgent._rebase,
    UnrulyAgent._drop_branch,
    UnrulyAgent._lock,
    UnrulyAgent._remove_pointer,
    UnrulyAgent._remove_folder,
    UnrulyAgent._unregister,
]
