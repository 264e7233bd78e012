"""A repository with many branches from one commit, some of which conflict."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from random import Random

_IDENTITY = "U <u@example.com>"
_BASE = "refs/heads/main"
_FOLDERS_OF = 50
_LINES = 40
_EDITS = 6


@dataclass(frozen=True)
class Branches:
    """A repository.

    Attributes:
        folder: Its git folder; it is bare.
        commits: The tips of the branches.
        base: The commit that all of them start from.
    """

    folder: Path
    commits: list[str]
    base: str


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ("git", *arguments), cwd=folder, input=stdin, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


def make_branches(folder: Path, files: int, branches: int, seed: int = 1) -> Branches:
    """Make a repository of `files` files, each branch of which edits a few of them."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--bare", "-b", "main")
    random = Random(seed)
    paths = [f"src/p{number // _FOLDERS_OF}/f{number}.py" for number in range(files)]
    stream = [_commit(_BASE, [(path, _text(path)) for path in paths])]
    for number in range(branches):
        edits = [(path, _text(path, random)) for path in random.sample(paths, _EDITS)]
        edits.append((f"src/new/b{number}.py", _text("new")))
        stream.append(_commit(f"refs/heads/b{number}", edits, _BASE))
    git(folder, "fast-import", "--quiet", stdin=b"".join(stream))
    commits = [git(folder, "rev-parse", f"b{number}") for number in range(branches)]
    return Branches(folder, commits, git(folder, "rev-parse", "main"))


def more(branches: Branches, number: int, seed: int) -> str:
    """Commit to a branch once more; return its new tip."""
    random, ref = Random(seed), f"refs/heads/b{number}"
    files = git(branches.folder, "ls-tree", "-r", "--name-only", ref, "src/p1").splitlines()
    path = random.choice(files)
    stream = _commit(ref, [(path, _text(path, random))], f"{ref}^0")
    git(branches.folder, "fast-import", "--quiet", stdin=stream)
    return git(branches.folder, "rev-parse", ref)


def _commit(ref: str, files: list[tuple[str, bytes]], base: str = "") -> bytes:
    head = f"commit {ref}\ncommitter {_IDENTITY} 1700000000 +0000\ndata 4\nwork\n"
    parts = [head.encode(), f"from {base}\n".encode() if base else b""]
    parts += [
        b"M 644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text) for path, text in files
    ]
    return b"".join(parts)


def _text(name: str, random: Random | None = None) -> bytes:
    lines = [f"{name}: line {number}" for number in range(_LINES)]
    if random is not None:
        lines[random.randrange(_LINES)] = f"changed {random.random()}"
    return "\n".join([*lines, ""]).encode()
