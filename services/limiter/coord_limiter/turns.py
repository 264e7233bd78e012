"""Serves the line: when somebody comes, when something is given back, and when time has passed."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from coord.errors import CoordError
from coord.times import SECOND

from coord_limiter.admission import Admission, Changes
from coord_limiter.ahead import Clocks
from coord_limiter.line import Line, Waiting, ready_ns
from coord_limiter.metrics import LimiterMetrics
from coord_limiter.writer import AheadWriter

# Timers of an event loop are no finer.
_TIMER_S_MIN = 0.001


class Turns:
    """Gives those in line what they wait for, once that is on disk."""

    def __init__(
        self,
        line: Line,
        writer: AheadWriter,
        projects: Mapping[str, Admission],
        metrics: LimiterMetrics,
        now: Callable[[], Clocks],
    ) -> None:
        self._line = line
        self._writer = writer
        self._projects = projects
        self._metrics = metrics
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._commits: set[asyncio.Task[None]] = set()

    @contextmanager
    def standing(self, waiting: Sequence[Waiting]) -> Iterator[None]:
        """Stand in line while the block runs; who was passing leaves the line afterwards."""
        for one in waiting:
            one.callers += 1
        # Of those in line before, nobody can be served since others have come.
        now_ns = self._now().monotonic_ns
        if wait_ns := min(ready_ns(one, {}, now_ns) for one in waiting):
            self._come_again(wait_ns)
        else:
            self.serve()
        try:
            yield
        finally:
            for one in waiting:
                one.callers -= 1
                one.left_ns = self._now().monotonic_ns
                if one.passing and not one.callers and self._waits(one):
                    self._line.leave(one)

    async def wait(self, waiting: Sequence[Waiting], wait_ns: int) -> None:
        """Wait until all are decided, for at most so long.

        Raises:
            CoordError: The store failed.
        """
        if wait_ns and any(map(self._waits, waiting)):
            await asyncio.wait([one.decided for one in waiting], timeout=wait_ns / SECOND)
        # Who was served hears of it once that is on disk.
        if served := [one.decided for one in waiting if not self._waits(one)]:
            await asyncio.wait(served)
        for decided in served:
            decided.result()

    def serve(self) -> None:
        """Serve whom there is room for, and come again when there may be more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not len(self._line):
            return
        now, changes = self._now(), dict[str, Changes]()
        served: dict[str, list[Waiting]] = {}
        for one in self._line.serve(now.monotonic_ns):
            mine = changes.setdefault(one.project, Changes())
            self._projects[one.project].grant([one.ask], one.buckets, now, mine)
            served.setdefault(one.project, []).append(one)
        for project, those in served.items():
            commit = asyncio.create_task(self._commit(project, those, changes[project], now))
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)
        if self._line.next_ns is not None:
            self._come_again(self._line.next_ns)

    async def stop(self) -> None:
        """Serve no more."""
        if self._timer:
            self._timer.cancel()
        await asyncio.gather(*self._commits, return_exceptions=True)

    def _waits(self, one: Waiting) -> bool:
        return self._line.find(one.project, one.ask.grant_id) is one

    async def _commit(
        self, project: str, served: list[Waiting], changes: Changes, now: Clocks
    ) -> None:
        try:
            await self._writer.commit(project, self._projects[project], changes, now)
        except CoordError as error:
            for one in served:
                one.decided.set_exception(error)
                # Whoever has gone away does not look at it.
                one.decided.exception()
            return
        metrics = self._metrics.of(project)
        for one, held in zip(served, changes.granted, strict=True):
            metrics.waited(now.monotonic_ns - one.joined_ns)
            one.decided.set_result(held)
        metrics.count(changes)

    def _come_again(self, wait_ns: int) -> None:
        """Serve in that time, or sooner where that is due."""
        loop, wait_s = asyncio.get_running_loop(), max(wait_ns / SECOND, _TIMER_S_MIN)
        if self._timer and self._timer.when() <= loop.time() + wait_s:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_later(wait_s, self.serve)
