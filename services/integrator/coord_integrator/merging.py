"""Merges two commits in Coord's own repository, and shows what collides.

`git merge-tree` needs no checkout. It runs with main's `.gitattributes` files laid out as its work
tree, since a bare repository ignores those in its trees; merge drivers that they name are not
configured there, so that git's own takes their place.
"""

import os
import re
import signal
from dataclasses import dataclass

from coord_integrator.attributes import lay_out
from coord_integrator.git import split
from coord_integrator.repository import Repository

DETAIL_BYTES_MAX = 60 * 2**10
_HUNKS_BYTES_MAX = 16 * 2**10
_CONTEXT_LINES = 3
_UNKNOWN = "(git itself fails to merge them)"
_OPENS, _CLOSES = re.compile(r"<{7} "), re.compile(r">{7} ")
_FIXED_PARTS = 2


@dataclass(frozen=True)
class Merge:
    """How two commits merge.

    Attributes:
        tree: The merged tree; where they conflict, with both sides in the files.
        conflicts: The paths that conflict; none for a clean merge.
        detail: Both sides' hunks, for the next attempt; at most 60 KiB.
    """

    tree: str
    conflicts: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Extent:
    """What one commit changes of another.

    Attributes:
        added: Lines added.
        removed: Lines removed.
        paths: The files, relative to the top.
    """

    added: int
    removed: int
    paths: tuple[str, ...]


class Merger:
    """Merges commits, one merge at a time.

    Args:
        repository: Where.
        attributes: Name of the folder below it that the attributes are laid out in; its own alone.
    """

    def __init__(self, repository: Repository, attributes: str = "attributes") -> None:
        self._repository = repository
        self._attributes = repository.folder / attributes
        self._attributes_of = ""

    async def merge(self, ours: str, theirs: str, labels: tuple[str, str]) -> Merge:
        """Merge `theirs` into `ours`.

        Args:
            ours: The commit that is merged into; its attributes hold.
            theirs: The commit that is merged.
            labels: What people call the two.
        """
        await self._lay_out_attributes(ours)
        git = self._repository.own.at(self._attributes)
        git = git.with_variables(GIT_WORK_TREE=str(self._attributes))
        arguments = ("merge-tree", "--write-tree", "-z", "--allow-unrelated-histories")
        output = await git.run(*arguments, ours, theirs, ok=(0, 1, -signal.SIGABRT))
        items = split(output.stdout)
        if output.status == 0:
            return Merge(items[0])
        if output.status != 1:
            # Git fails at some merges by an assertion of its own, each time.
            return Merge("", (_UNKNOWN,), output.stderr.decode(errors="replace"))
        paths, messages = parse_conflicts(items[1:])
        hunks = [await self._hunks(items[0], path) for path in paths]
        text = "\n".join([*messages, "", *hunks])
        for commit, label in zip((ours, theirs), labels, strict=True):
            text = text.replace(commit, label)
        return Merge(items[0], tuple(paths), clip(text, DETAIL_BYTES_MAX))

    async def commit(self, tree: str, parents: tuple[str, ...], message: str) -> str:
        """Return a new commit of a tree."""
        flags = [flag for parent in parents for flag in ("-p", parent)]
        own = self._repository.own
        return await own.text("commit-tree", tree, *flags, "-F", "-", stdin=message.encode())

    async def extent(self, old: str, new: str) -> Extent:
        """Return what `new` changes."""
        lines = await self._repository.own.items(
            "diff", "--numstat", "-z", "--no-renames", old, new
        )
        counts = [line.split("\t", 2) for line in lines]
        added = sum(int(added) for added, _, _ in counts if added.isdecimal())
        removed = sum(int(removed) for _, removed, _ in counts if removed.isdecimal())
        return Extent(added, removed, tuple(path for _, _, path in counts))

    async def _hunks(self, tree: str, path: str) -> str:
        blob = await self._repository.own.run("cat-file", "blob", f"{tree}:{path}", ok=(0, 128))
        if blob.status != 0 or b"\0" in blob.stdout:
            return f"{path}: no text to show\n"
        hunks = conflict_hunks(blob.stdout.decode(errors="replace").split("\n"))
        return clip("\n".join([f"{path}:", *hunks, ""]), _HUNKS_BYTES_MAX)

    async def _lay_out_attributes(self, commit: str) -> None:
        tree = await self._repository.tree(commit)
        if tree == self._attributes_of:
            return
        await lay_out(self._repository, tree, self._attributes)
        self._attributes_of = tree


def conflict_hunks(lines: list[str]) -> list[str]:
    """Return the lines between conflict markers, with a few around them."""
    shown: list[str] = []
    begin, last = 0, 0
    for number, line in enumerate(lines):
        if _OPENS.match(line):
            begin = max(number - _CONTEXT_LINES, last)
        elif _CLOSES.match(line):
            last = min(number + 1 + _CONTEXT_LINES, len(lines))
            shown += [f"@@ line {begin + 1} @@", *lines[begin:last]]
    return shown


def as_text(path: str) -> str:
    """Return a file's name as the contract has it: what is not UTF-8 in it is replaced."""
    return os.fsencode(path).decode(errors="replace")


def clip(text: str, bytes_max: int) -> str:
    """Return the beginning of a text, saying so where that is not all."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - 32].decode(errors="ignore") + "\n[... more is left out]\n"


def parse_conflicts(items: list[str]) -> tuple[list[str], list[str]]:
    r"""Return the conflicting paths and git's messages about them.

    After the tree come `<mode> <object> <stage>\t<path>` entries, an empty item, and messages of
    the form: number of paths, the paths, a short name, the message.
    """
    end = items.index("")
    entries = {entry.split("\t", 1)[1] for entry in items[:end]}
    rest, messages, named = items[end + 1 :], [], set()
    while len(rest) > _FIXED_PARTS:
        size = 1 + int(rest[0]) + _FIXED_PARTS
        if rest[size - 2].startswith("CONFLICT"):
            messages.append(rest[size - 1].strip())
            named.update(rest[1 : size - 2])
        rest = rest[size:]
    # A folder whose renaming git cannot make out is in its message alone.
    return sorted(entries or named), messages
