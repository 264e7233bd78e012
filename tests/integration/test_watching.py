"""The watch over worktrees goes on whatever the names in them."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coord_integrator import watching
from coord_integrator.watching import Changed, Watcher

# Were each pause twice as long as the one before, these would take 50 s.
_PAUSE_S, _ROUNDS = 0.05, 10


class _Watched:
    """A worktree `a` that is watched."""

    def __init__(self, folder: Path) -> None:
        self.worktree = folder / "worktrees" / "a"
        self.worktree.mkdir(parents=True)
        self.watcher = Watcher(folder / "worktrees", folder / "git", self._take)
        self._seen: asyncio.Queue[Changed] = asyncio.Queue()

    async def _take(self, changed: Changed) -> None:
        self._seen.put_nowait(changed)

    async def see(self, name: bytes) -> set[Path]:
        """Change a file until something is noticed in its worktree; return what."""
        while self._seen.empty():
            await asyncio.to_thread(self._change, name)
            await asyncio.sleep(0.01)
        return (await self._seen.get())["a"]

    def _change(self, name: bytes) -> None:
        (self.worktree / os.fsdecode(name)).write_text("x")


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Watched]:
    monkeypatch.setattr(watching, "_PAUSE_S", _PAUSE_S)
    watched = _Watched(tmp_path)
    running = asyncio.create_task(watched.watcher.run())
    yield watched
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_name_that_is_not_utf_8_is_noticed_and_makes_the_watch_no_slower(
    watched: _Watched,
) -> None:
    async with asyncio.timeout(60):
        for _ in range(_ROUNDS):
            assert await watched.see(b"not utf-8 \xff") == set()
            while not (seen := await watched.see(b"b")):
                pass  # What was written before the pause was over.
            assert seen == {watched.worktree / "b"}
