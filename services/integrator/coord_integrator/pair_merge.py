"""What git's merge says of many pairs of commits, from one process."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from coord_integrator.attributes import lay_out
from coord_integrator.git import GitError
from coord_integrator.git_pipe import GitPipe
from coord_integrator.merging import clip, conflict_hunks, parse_conflicts
from coord_integrator.repository import Repository

_COMMAND = ("merge-tree", "--write-tree", "--allow-unrelated-histories", "-z", "--stdin")
_CLEAN = "1"
_HUNKS_BYTES_MAX = 16 * 2**10

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Verdict:
    """How two commits merge.

    Attributes:
        commits: The two, ours first.
        tree: The merged tree; where they conflict, with both sides in the files.
        clean: Whether they merge without a conflict.
        paths: The paths that conflict, in order, as they are in the tree: where a file and a folder
            meet, git gives one of them a name with its commit.
        messages: What git says of them.
    """

    commits: tuple[str, str]
    tree: str
    clean: bool = True
    paths: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """The paths that conflict, as the two sides know them."""
        return sorted({_without(path, self.commits) for path in self.paths})


class PairMerger:
    """Merges pairs of commits, under the attributes of one of them all.

    Args:
        repository: Where; its own repository gets the merged trees.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._folder = repository.folder / "attributes"
        self._attributes, self._attributes_of = b"", ""
        inside = repository.own.at(self._folder)
        self._git = inside.with_variables(GIT_WORK_TREE=str(self._folder))
        self._blobs = GitPipe(repository.own, "cat-file", "--batch", read=_read_blob)

    async def adopt_attributes(self, tree: str) -> bytes:
        """Merge by the attributes of a tree from now on; return what stands for them."""
        if tree == self._attributes_of:
            return self._attributes
        self._attributes = await lay_out(self._repository, tree, self._folder)
        self._attributes_of = tree
        return self._attributes

    async def merge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict | None]:
        """Merge pairs of commits; None for those of which git says nothing."""
        if not pairs:
            return []
        try:
            return [*await self._merge(pairs)]
        except GitError as error:
            if len(pairs) == 1:
                log.warning("two heads cannot be merged", pair=pairs[0], why=str(error))
                # Git fails at some pairs by an assertion of its own, each time.
                return [_unmergeable(pairs[0]) if error.status == -signal.SIGABRT else None]
        middle = len(pairs) // 2
        return [*await self.merge(pairs[:middle]), *await self.merge(pairs[middle:])]

    async def hunks(self, verdict: Verdict, labels: Sequence[str]) -> str:
        """Return both sides' hunks of a conflict; at most 16 KiB.

        Args:
            verdict: The conflict.
            labels: What people call the two sides.
        """
        names = [f"{verdict.tree}:{path}" for path in verdict.paths if "\n" not in path]
        parts, size = [*verdict.messages, ""], 0
        for name in names:
            if size > _HUNKS_BYTES_MAX:
                break
            shown = _shown(name.partition(":")[2], (await self._blobs.ask([name]))[0])
            size += len(shown)
            parts.append(shown)
        text = "\n".join(parts)
        for commit, label in zip(verdict.commits, labels, strict=True):
            text = text.replace(commit, label)
        return clip(text, _HUNKS_BYTES_MAX)

    async def close(self) -> None:
        """End git."""
        await self._blobs.close()

    async def _merge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        lines = "".join(f"{ours} {theirs}\n" for ours, theirs in pairs).encode()
        items = iter(await self._git.items(*_COMMAND, stdin=lines))
        return [_verdict(pair, items) for pair in pairs]


def _without(path: str, commits: tuple[str, str]) -> str:
    for commit in commits:
        path = path.removesuffix(f"~{commit}")
    return path


def _unmergeable(commits: tuple[str, str]) -> Verdict:
    message = "CONFLICT: git itself fails to merge these two, so nobody knows how they collide"
    return Verdict(commits, "", clean=False, messages=(message,))


def _verdict(commits: tuple[str, str], items: Iterator[str]) -> Verdict:
    """Read what git says of one pair.

    That is whether it is clean, the tree, where it is not clean the conflicting entries, an empty
    item and the messages, and at last an empty item.
    """
    clean, tree = next(items) == _CLEAN, next(items)
    sections = [list(iter(items.__next__, "")) for _ in range(1 if clean else 2)]
    if clean:
        return Verdict(commits, tree)
    entries, messages = sections
    paths, told = parse_conflicts([*entries, "", *messages])
    return Verdict(commits, tree, clean=False, paths=tuple(paths), messages=tuple(told))


async def _read_blob(answers: asyncio.StreamReader) -> bytes | None:
    """Return what is in a blob; None where there is no such blob."""
    words = (await answers.readuntil(b"\n")).split()
    if words[-1] == b"missing":
        return None
    content = await answers.readexactly(int(words[-1]) + 1)
    return content[:-1] if words[-2] == b"blob" else None


def _shown(path: str, content: bytes | None) -> str:
    if content is None or b"\0" in content:
        return f"{path}: no text to show\n"
    hunks = conflict_hunks(content.decode(errors="replace").split("\n"))
    return "\n".join([f"{path}:", *hunks, ""])
