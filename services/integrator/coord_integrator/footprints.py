"""Reads and remembers the footprints of heads."""

import asyncio
from collections.abc import Collection

from coord_integrator.footprint import Footprint
from coord_integrator.git import Git
from coord_integrator.git_pipe import GitPipe

_COMMAND = ("diff-tree", "-r", "-t", "--raw", "-z", "--no-renames", "--no-abbrev", "--stdin")

Trees = tuple[str, str]


class Footprints:
    """Compares trees.

    Args:
        git: Runs git in a repository that has them.
        mark: A line that no file name contains. Git gives back a line that is no question, and
            that tells where its answer ends.
    """

    def __init__(self, git: Git, mark: str) -> None:
        self._mark = mark
        self._pipe = GitPipe(git, *_COMMAND, read=self._read)
        self._known: dict[Trees, Footprint] = {}

    async def read(self, pairs: Collection[Trees]) -> dict[Trees, Footprint]:
        """Return what the second of two trees changes of the first, for each pair."""
        wanted = [trees for trees in pairs if trees not in self._known]
        found = await self._pipe.ask([f"{old} {new}\n{self._mark}" for old, new in wanted])
        self._known.update(zip(wanted, found, strict=True))
        return {trees: self._known[trees] for trees in pairs}

    def forget_but(self, pairs: Collection[Trees]) -> None:
        """Forget all others."""
        self._known = {trees: self._known[trees] for trees in pairs if trees in self._known}

    async def close(self) -> None:
        """End git."""
        await self._pipe.close()

    async def _read(self, answers: asyncio.StreamReader) -> Footprint:
        await answers.readuntil(b"\n")  # It begins with the question.
        end = f"{self._mark}\n".encode()
        return Footprint.parse((await answers.readuntil(end)).removesuffix(end))
