"""Sees conflicts between worktrees, and with the target, while they are being edited."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from coord.environment import Environment
from coord.errors import not_found
from coord.times import SECOND
from coord.v1 import integrator_pb2

from coord_integrator.attempts import Attempts
from coord_integrator.conflict_table import ConflictTable
from coord_integrator.glances import Glances
from coord_integrator.matrix import TARGET, Counts, Head, Matrix, Pair
from coord_integrator.merging import as_text
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pair_merge import Verdict
from coord_integrator.repository import Repository
from coord_integrator.scratch import open_scratch
from coord_integrator.store import WorktreeRow
from coord_integrator.target import Target
from coord_integrator.watching import Changed

_PATHS_MAX = 100
# Of more changed files than these, all files of a worktree are looked at.
_CHANGED_MAX = 200
_AT_ONCE = 2
# After so many looks the scratch repository is made anew, with all that is in it.
_LOOKS_KEPT = 20_000
# How many are looked at before what was seen is told.
_LOOKS_MAX = 4
# A worktree that somebody is at, or that changes all the time, is looked at again after this.
_PAUSE_S = 0.2
# Whether the target has moved is known from the merge queue.
_POLL_S = 1.0
# However nothing is noticed, all is looked at this often.
_SWEEP_S = 30.0

# The files that have changed in a worktree; None where more may have.
Changes = frozenset[Path] | None


class Radar:
    """Keeps the matrix of all worktrees, and tells what changes in it.

    Args:
        attempts: Whose worktrees it looks at.
        target: What their work is to land on.
        repository: Has both.
        table: Holds the conflicts that last.
        environment: Time and chance.
        metrics: Counts what it does.
    """

    def __init__(
        self,
        attempts: Attempts,
        target: Target,
        repository: Repository,
        *,
        table: ConflictTable,
        environment: Environment,
        metrics: IntegratorMetrics,
    ) -> None:
        self._attempts = attempts
        self._target = target
        self._repository = repository
        self._table = table
        self._environment = environment
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._eyes: _Eyes | None = None
        self._opening = asyncio.Lock()
        self._marked: dict[str, Changes] = {}
        self._looked_ns: dict[str, int] = {}
        self._swept_ns: int | None = None
        self._has_seen_all = False
        self._looks = 0
        self._hunks: dict[Pair, tuple[Verdict, str]] = {}

    async def step(self) -> float:
        """Look at what is marked; return after how many seconds to look again by itself."""
        async with self._lock:
            await self._begin_anew()
            now_ns = self._environment.monotonic_ns()
            if self._swept_ns is None or now_ns - self._swept_ns >= _SWEEP_S * SECOND:
                self._swept_ns = now_ns
                await self._target.read()
                self._mark_all()
            self._mark_unseen()
            due = self._due(now_ns - round(_PAUSE_S * SECOND))
            await self._look(due[:_LOOKS_MAX])
        if len(due) > _LOOKS_MAX:
            return 0.0
        return _PAUSE_S if self._marked else _POLL_S

    async def mark(self, changed: Changed) -> bool:
        """Note which worktrees have changed; False where none has, but for what git ignores.

        Args:
            changed: The changed files, by the folder of their worktree; none where it is to be
                looked at in any case.
        """
        folders = {self._attempts.folder(row.worker).name: row for row in self._attempts.live()}
        for folder, paths in changed.items():
            row = folders.get(folder)
            if row is not None:
                await self._mark(row.worker, paths)
        return bool(self._marked)

    async def check(self, worker: str) -> integrator_pb2.CheckConflictsResponse:
        """Compare a worktree with the target and all others; see CheckConflicts."""
        row = next((row for row in self._attempts.rows() if row.worker == worker), None)
        if row is None:
            raise not_found("WORKTREE_NOT_FOUND", f"worker {worker} has no worktree")
        await self._look_at_all()
        return integrator_pb2.CheckConflictsResponse(
            attempt=self._attempts.worktree(row).attempt,
            conflicts=sorted(self._of(worker), key=attrgetter("worker")),
        )

    async def matrix(self, worker: str) -> integrator_pb2.GetConflictMatrixResponse:
        """Return which worktrees conflict; see GetConflictMatrix."""
        if not self._has_seen_all:
            await self._look_at_all()
        heads = (await self._open()).matrix.heads
        found = integrator_pb2.GetConflictMatrixResponse(
            heads=[
                integrator_pb2.RadarHead(
                    worker=head.name, attempt=head.attempt, head_commit=head.head, tree=head.tree
                )
                for _, head in sorted(heads.items())
            ]
        )
        for conflict in self._table.all():
            if not worker or worker in (conflict.worker, conflict.other.worker):
                found.conflicts.append(conflict)
                if not worker:
                    found.conflicts[-1].other.ClearField("hunks")
        return found

    async def close(self) -> None:
        """End the processes that answer."""
        if self._eyes is not None:
            await self._eyes.close()

    def _of(self, worker: str) -> Iterator[integrator_pb2.WorktreeConflict]:
        """Yield the conflicts of a worker, each from its side."""
        for conflict in self._table.all():
            if conflict.worker == worker:
                yield conflict.other
            elif conflict.other.worker == worker:
                other = integrator_pb2.WorktreeConflict()
                other.CopyFrom(conflict.other)
                other.worker = conflict.worker
                other.attempt.CopyFrom(conflict.attempt)
                yield other

    async def _open(self) -> "_Eyes":
        """Return what it looks with, made at the first use."""
        async with self._opening:
            return self._eyes or await self._make_eyes()

    async def _make_eyes(self) -> "_Eyes":
        scratch = await open_scratch(self._repository)
        matrix = Matrix(scratch, self._environment.new_id("end-"))
        glances = Glances(self._repository, scratch, matrix.footprints)
        await glances.open()
        self._eyes = _Eyes(scratch, matrix, glances)
        return self._eyes

    async def _begin_anew(self) -> None:
        """Drop what was read and merged so far, where that has become much."""
        if self._eyes is not None and self._looks > _LOOKS_KEPT:
            await self._eyes.close()
            self._eyes, self._looks = None, 0
            self._mark_all()

    def _due(self, rested_ns: int) -> list[str]:
        """Return what is marked and was not looked at since then, what takes least time first."""
        due = [one for one in self._marked if self._looked_ns.get(one, rested_ns) <= rested_ns]
        return sorted(due, key=lambda one: self._marked[one] is None)

    async def _mark(self, worker: str, paths: set[Path]) -> None:
        marked = self._marked.get(worker, frozenset())
        if marked is None or not paths:
            self._marked[worker] = None
            return
        eyes = await self._open()
        relevant = await eyes.glances.relevant(worker, paths)
        if relevant:
            # Meanwhile it may have been looked at, or marked by a sweep.
            before = self._marked.get(worker, frozenset())
            all_ = None if before is None else before.union(relevant)
            self._marked[worker] = all_ if all_ and len(all_) <= _CHANGED_MAX else None

    def _mark_all(self) -> None:
        self._marked.update(dict.fromkeys(row.worker for row in self._attempts.live()))

    def _mark_unseen(self) -> None:
        """Mark the worktrees that serve another attempt than when they were looked at."""
        seen = self._eyes.seen if self._eyes else {}
        attempts = {name: head.attempt for name, head in seen.items()}
        for row in self._attempts.live():
            if attempts.get(row.worker) != self._attempts.worktree(row).attempt:
                self._marked[row.worker] = None

    async def _look_at_all(self) -> None:
        async with self._lock:
            await self._target.read()
            self._mark_all()
            await self._look(list(self._marked))

    async def _look(self, due: Collection[str]) -> None:
        """Look at some worktrees, judge what has moved, and tell what has changed."""
        eyes = await self._open()
        rows = {row.worker: row for row in self._attempts.live()}
        self._marked = {one: paths for one, paths in self._marked.items() if one in rows}
        some = asyncio.Semaphore(_AT_ONCE)

        async def look(row: WorktreeRow) -> None:
            async with some:
                await self._glance(eyes, row)

        await asyncio.gather(*(look(rows[one]) for one in due if one in rows))
        for worker in eyes.seen.keys() - rows.keys():
            eyes.forget(worker)
        tip = await self._tip(eyes)
        heads = {**eyes.seen, **tip}
        before = replace(eyes.matrix.counts)
        attributes_of = tip[TARGET].tree if tip else await eyes.empty_tree()
        await eyes.matrix.update(heads, attributes_of)
        self._count(before, eyes.matrix.counts)
        await self._tell(eyes, rows)

    async def _glance(self, eyes: "_Eyes", row: WorktreeRow) -> None:
        """Look at a worktree; one that somebody is at stays marked."""
        async with self._attempts.at_rest(row.worker) as at_rest:
            if not at_rest:
                return
            changed = self._marked.pop(row.worker, None)
            self._looks += 1
            began_ns = self._looked_ns[row.worker] = self._environment.monotonic_ns()
            attempt = self._attempts.worktree(row).attempt
            folder = self._attempts.folder(row.worker)
            head = await eyes.glances.look(row.worker, folder, attempt, changed)
        took_ns = self._environment.monotonic_ns() - began_ns
        self._metrics.glances.observe(took_ns / SECOND)
        if head is None:
            eyes.seen.pop(row.worker, None)
        else:
            eyes.seen[row.worker] = head

    async def _tip(self, eyes: "_Eyes") -> dict[str, Head]:
        """Return the target as a head; nothing where there is no target."""
        standing = self._target.seen
        if standing is None:
            return {}
        known = eyes.matrix.heads.get(TARGET)
        if known is not None and known.head == standing.tip:
            return {TARGET: known}
        tree = await eyes.scratch.tree(standing.tip)
        return {TARGET: Head(TARGET, standing.tip, standing.tip, tree)}

    async def _tell(self, eyes: "_Eyes", rows: Mapping[str, WorktreeRow]) -> None:
        conflicts = eyes.matrix.conflicts
        self._hunks = {
            pair: (verdict, await self._hunks_of(eyes, pair, verdict))
            for pair, verdict in conflicts.items()
        }
        heads = eyes.matrix.heads
        live = [
            _live(heads[pair[0]], heads[pair[1]], verdict, self._hunks[pair][1])
            for pair, verdict in conflicts.items()
        ]
        unseen = self._marked.keys() - eyes.seen.keys()
        self._has_seen_all = self._has_seen_all or not unseen
        live += [one for one in self._table.all() if _is_between(one, unseen, rows)]
        await self._table.put(live)
        self._metrics.conflicts.set(len(live))

    async def _hunks_of(self, eyes: "_Eyes", pair: Pair, verdict: Verdict) -> str:
        known, hunks = self._hunks.get(pair, (None, ""))
        if known is verdict:
            return hunks
        return await eyes.matrix.merger.hunks(verdict, [one or "the target" for one in pair])

    def _count(self, before: Counts, after: Counts) -> None:
        for kind in ("apart", "cached", "merged"):
            count = getattr(after, kind) - getattr(before, kind)
            self._metrics.pairs.labels(kind).inc(count)


@dataclass(frozen=True)
class _Eyes:
    """What the radar looks with.

    Attributes:
        scratch: Where it puts what it reads.
        matrix: Judges pairs.
        glances: Looks at worktrees.
        seen: What it has seen last, by worker.
    """

    scratch: Repository
    matrix: Matrix
    glances: Glances
    seen: dict[str, Head] = field(default_factory=dict)

    def forget(self, worker: str) -> None:
        """Forget a worktree that is no more."""
        self.glances.forget(worker)
        del self.seen[worker]

    async def close(self) -> None:
        """End the processes that answer."""
        await self.glances.close()
        await self.matrix.close()

    async def empty_tree(self) -> str:
        """Return a tree without any files."""
        return await self.scratch.own.text("hash-object", "-w", "-t", "tree", "--stdin")


def _is_between(
    conflict: integrator_pb2.LiveConflict, unseen: set[str], rows: Mapping[str, WorktreeRow]
) -> bool:
    """Tell whether a conflict is one of attempts that are there, but not all of them seen yet."""
    sides = {conflict.worker: conflict.attempt, conflict.other.worker: conflict.other.attempt}
    there = all(
        name == TARGET or (name in rows and rows[name].fence == attempt.fencing_token)
        for name, attempt in sides.items()
    )
    return there and not unseen.isdisjoint(sides)


def _live(one: Head, other: Head, verdict: Verdict, hunks: str) -> integrator_pb2.LiveConflict:
    if one.name == TARGET:
        one, other = other, one
    return integrator_pb2.LiveConflict(
        worker=one.name,
        attempt=one.attempt,
        other=integrator_pb2.WorktreeConflict(
            worker=other.name,
            attempt=other.attempt,
            paths=[as_text(path) for path in verdict.files[:_PATHS_MAX]],
            hunks=hunks,
        ),
    )
