"""What a head changes, and whether two heads that change it may collide.

A filter before git's own merge. It may only err on one side: of two heads that it takes for apart,
git's merge has no conflict either. Three rules cover how git's merge-ort relates paths to each
other: both sides touch the same path; one has a file where the other has a folder; one has emptied
a folder, which git may take for its renaming, and the other has added to it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_FOLDER = "040000"
_NOTHING = "000000"
_LINK = "160000"


@dataclass(frozen=True)
class Footprint:
    """What differs between the files of two trees, the older one being the base.

    Attributes:
        paths: Files that were added, removed or changed.
        folders: The folders above them.
        emptied: Folders that are no more.
        grown: The folders above files that were added.
        links: Links to commits of other repositories that were added or changed.
    """

    paths: frozenset[str]
    folders: frozenset[str]
    emptied: frozenset[str]
    grown: frozenset[str]
    links: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read what `git diff-tree -r -t --raw -z --no-renames` has printed of two trees."""
        items = os.fsdecode(raw).split("\0")[:-1]
        paths, emptied, added, links = set(), set(), set(), set()
        for about, path in zip(items[::2], items[1::2], strict=True):
            old, new = about[1:].split(" ")[:2]
            if _FOLDER in (old, new):
                if new != _FOLDER:
                    emptied.add(path)
                continue
            paths.add(path)
            if old == _NOTHING:
                added.add(path)
            if new == _LINK:
                links.add(path)
        return cls(
            frozenset(paths),
            frozenset(_above(paths)),
            frozenset(emptied),
            frozenset(_above(added)),
            frozenset(links),
        )

    def may_collide(self, other: Self) -> bool:
        """Tell whether git's merge of the two has to be asked; both are against the same base."""
        return not (
            self.paths.isdisjoint(other.paths)
            and self.paths.isdisjoint(other.folders)
            and self.folders.isdisjoint(other.paths)
            and self.emptied.isdisjoint(other.grown)
            and self.grown.isdisjoint(other.emptied)
        )


def _above(paths: Iterable[str]) -> Iterable[str]:
    """Yield the folders above paths; those next to each other mostly share them."""
    seen: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            yield folder
            folder = folder.rpartition("/")[0]
