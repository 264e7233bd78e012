"""Notices that files in worktrees have changed, and that their HEADs have moved."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import structlog
from watchfiles import Change, awatch

from coord_integrator.git import GitError

# How long changes are gathered: while they go on, and in all.
_STEP_MS, _GATHER_MS = 20, 100
_ROOTS_S = 2.0
# Before another try.
_PAUSE_S, _PAUSE_S_MAX = 0.5, 30.0
_HEAD = "HEAD"

log = structlog.get_logger(__name__)

Changed = dict[str, set[Path]]


class Watcher:
    """Watches the folder of the worktrees, and the git folder that has one for each of them.

    Args:
        worktrees: The folder that has the worktrees.
        git_folders: The folder that has their git folders; it may come and go.
        on_change: Gets the changed files by the folder of their worktree; no files where its HEAD
            has moved.
    """

    def __init__(
        self,
        worktrees: Path,
        git_folders: Path,
        on_change: Callable[[Changed], Awaitable[None]],
    ) -> None:
        self._worktrees = worktrees
        self._git_folders = git_folders
        self._on_change = on_change
        self._pause_s = _PAUSE_S

    async def run(self) -> None:
        """Watch until cancelled."""
        self._worktrees.mkdir(parents=True, exist_ok=True)
        while True:
            roots = self._roots()
            stop = asyncio.Event()
            looking = asyncio.create_task(self._stop_when_other(roots, stop))
            try:
                await self._watch([path for path, _ in roots], stop)
            except* (GitError, OSError, RuntimeError) as errors:
                # More folders than may be watched, or a name that is not UTF-8.
                log.warning("worktrees cannot be watched for now", why=str(errors.exceptions[0]))
                await self._on_change({path.name: set() for path in self._worktrees.iterdir()})
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _PAUSE_S_MAX)
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking

    async def _watch(self, roots: list[Path], stop: asyncio.Event) -> None:
        async for changes in awatch(
            *roots,
            watch_filter=None,
            step=_STEP_MS,
            debounce=_GATHER_MS,
            stop_event=stop,
            ignore_permission_denied=True,
        ):
            self._pause_s = _PAUSE_S
            if changed := self._sorted(changes):
                await self._on_change(changed)

    def _sorted(self, changes: Iterable[tuple[Change, str]]) -> Changed:
        changed: Changed = defaultdict(set)
        for _, name in changes:
            path = Path(name)
            if path.is_relative_to(self._git_folders):
                if path.name == _HEAD:
                    changed[_checkout_of(self._git_folders, path)].update()
            elif path.is_relative_to(self._worktrees):
                worktree, *inside = path.relative_to(self._worktrees).parts
                if inside and inside != [".git"]:
                    changed[worktree].add(path)
        return changed

    def _roots(self) -> list[tuple[Path, int]]:
        found = []
        for path in (self._worktrees, self._git_folders):
            with suppress(OSError):
                found.append((path, path.stat().st_ino))
        return found

    async def _stop_when_other(self, roots: list[tuple[Path, int]], stop: asyncio.Event) -> None:
        """Git removes the folder of git folders with the last of them."""
        while self._roots() == roots:  # noqa: ASYNC110 - another program's folder.
            await asyncio.sleep(_ROOTS_S)
        stop.set()


def _checkout_of(git_folders: Path, path: Path) -> str:
    """Return the name of the worktree to which a file in its git folder belongs."""
    git_folder = git_folders / path.relative_to(git_folders).parts[0]
    with suppress(OSError):
        return Path((git_folder / "gitdir").read_text().strip()).parent.name
    return git_folder.name
