"""Claims that survive: asked for, waited for, renewed, given back, and ended with who held them."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import structlog
from coord.times import SECOND, duration_ns, timestamp
from coord.v1 import claims_pb2 as pb
from coord.v1 import common_pb2, coordinator_pb2
from coord_runtime.globs import Comparison
from coord_runtime.wakeups import Wakeups

from coord_coordinator.batches import Batches
from coord_coordinator.claim_answers import (
    claimed,
    failed,
    must_wait,
    other_claim,
    would_deadlock,
)
from coord_coordinator.claim_line import ClaimLine, Entry
from coord_coordinator.fleet import Fleet
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.resources import common
from coord_coordinator.store import ClaimChange, CoordinatorStore, StoredClaim
from coord_coordinator.workers import Worker

T = TypeVar("T")

_LEASE_NS = 60 * SECOND
# How long a place in the line is kept for who has waited in vain, to ask again.
_PLACE_NS = 10 * SECOND
_ENDED_MAX = 10_000
_LOOK_S = 1.0

log = structlog.get_logger(__name__)


class Claims:
    """The claims of a project.

    Args:
        fleet: The workers.
        store: Where claims are kept.
        metrics: Where their number is told.

    Attributes:
        on_change: Called when claims have changed, before anybody is told so.
        obstacles: What else holds tasks back from the paths that they declare.
    """

    def __init__(self, fleet: Fleet, store: CoordinatorStore, metrics: CoordinatorMetrics) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.obstacles: list[Callable[[pb.Claim, Comparison], common_pb2.Reason | None]] = []
        self._fleet = fleet
        self._store = store
        self._line = ClaimLine()
        self._ended: dict[str, pb.Claim] = {}
        self._changed = Wakeups()
        self._steps: Batches[Callable[[ClaimChange], Any], Any] = Batches(self._take)
        metrics.claims_held.set_function(lambda: len(self.held()))
        metrics.claims_waiting.set_function(lambda: self._line.waiting)

    def held(self) -> list[pb.Claim]:
        """Return the claims that are held, in the order of asking."""
        return [entry.claim for entry in self._line if entry.held]

    def restore(self) -> None:
        """Read what is stored; each lease is a full one again, since nobody could renew it."""
        stored, last_token = self._store.claims()
        now_ns = self._fleet.environment.monotonic_ns()
        self._line = ClaimLine(last_token)
        self._line.restore(
            Entry(one.claim, one.lease_ns, now_ns + one.lease_ns, told=one.told)
            for one in stored
            if one.claim.state in (pb.CLAIM_STATE_WAITING, pb.CLAIM_STATE_GRANTED)
        )
        ended = [one.claim for one in stored if one.claim.state > pb.CLAIM_STATE_GRANTED]
        self._ended = {claim.claim_id: claim for claim in ended}

    async def run(self) -> None:
        """End claims whose lease or session is over, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            over = [one for one in self._line if self._is_over(one)]
            if over:
                await self._end_all(over, pb.CLAIM_STATE_EXPIRED)

    def _is_over(self, entry: Entry) -> bool:
        # A session that ended while its claim was on the way to the disk, or with the coordinator.
        if entry.told and entry.claim.holder not in self._fleet.workers:
            return True
        return bool(entry.lease_ns) and entry.expires_ns <= self._now_ns()

    async def ask(
        self,
        holder: str,
        request: pb.ClaimRequest,
        *,
        wait_ns: int = 0,
        told: bool = False,
        comparison: Comparison | None = None,
    ) -> pb.ClaimResult:
        """Ask for a claim.

        Args:
            holder: Who asks.
            request: The request.
            wait_ns: How long its place in the line is kept; 0 for none.
            told: Whether the holder is to be told on its stream when the claim is granted or lost;
                it then lives as long as the holder's session.
            comparison: Of the call, where it asks for others as well.
        """
        entry = self._new(holder, request, told=told)
        compared = comparison or Comparison()
        return await self._apply(lambda change: self._ask(change, entry, wait_ns, compared))

    async def acquire(
        self, holder: str, requests: Iterable[pb.ClaimRequest], wait_ns: int
    ) -> list[pb.ClaimResult]:
        """Ask for claims, and wait for those that are not granted at once."""
        requests = list(requests)
        until_ns = self._fleet.environment.monotonic_ns() + wait_ns
        while True:
            seen = self._changed.seen()
            left_ns = until_ns - self._fleet.environment.monotonic_ns()
            place_ns, comparison = wait_ns and max(left_ns, 1), Comparison()
            results = await asyncio.gather(
                *(
                    self.ask(holder, one, wait_ns=place_ns, comparison=comparison)
                    for one in requests
                )
            )
            if left_ns <= 0 or not any(result.HasField("wait") for result in results):
                return results
            await self._changed.wait(seen, left_ns / SECOND)

    async def release(
        self, holder: str, claim_ids: Iterable[str], *, taken: bool = False
    ) -> list[pb.ClaimReportResult]:
        """Give claims back, or take requests back.

        Args:
            holder: Whose they are.
            claim_ids: Which.
            taken: Whether it is not the holder who does so; then it hears of it.
        """
        ids = list(claim_ids)
        return await self._apply(
            lambda change: [self._release(change, holder, claim_id, taken) for claim_id in ids]
        )

    def renew(self, holder: str, claim_ids: Iterable[str]) -> list[pb.ClaimReportResult]:
        """Renew leases. Nothing is written: after a restart every lease is a full one."""
        return [self._renew(holder, claim_id) for claim_id in claim_ids]

    async def end_attempt(self, token: int) -> None:
        """End the claims of an attempt that has ended."""
        of_attempt = [one for one in self._line if one.claim.attempt.fencing_token == token]
        await self._end_all(of_attempt, pb.CLAIM_STATE_RELEASED)

    async def end_session(self, holder: str) -> None:
        """End the claims that a worker has asked for on its stream, when it has gone."""
        told = [one for one in self._line.of(holder) if one.told]
        await self._end_all(told, pb.CLAIM_STATE_EXPIRED)

    async def end_orphans(self) -> None:
        """End the claims of workers that went while that could not be stored."""
        gone = {entry.claim.holder for entry in self._line if entry.told} - {*self._fleet.workers}
        for holder in sorted(gone):
            await self.end_session(holder)

    def remind(self, worker: Worker) -> None:
        """Tell a worker whose coordinator has started anew which of its claims are granted.

        It may have heard of that before.
        """
        for entry in self._line.of(worker.name):
            if entry.told and entry.held:
                worker.session.push(proceed=coordinator_pb2.Proceed(claim=entry.claim))

    def of_attempts(self) -> set[int]:
        """Return the fencing tokens of the attempts that have claims."""
        return {one.claim.attempt.fencing_token for one in self._line} - {0}

    def find(self, holder: str, resources: Iterable[pb.Resource], after: int) -> list[Entry]:
        """Return the claims that are held or wait, in order.

        Args:
            holder: Only of this one; empty for all.
            resources: Only those that meet one of these; empty for all.
            after: Only those that were asked for after the one of this number.
        """
        wanted, comparison = pb.Claim(resources=resources), Comparison()
        entries = self._line.of(holder) if holder else list(self._line)
        return [
            one
            for one in entries
            if one.number > after
            and (not wanted.resources or common(one.claim, wanted, comparison) is not None)
        ]

    def keeping_changes(self) -> set[str]:
        """Return the ids of the claims that keep changes of others from landing.

        Who waits for what a change claims does not keep it waiting in turn.
        """
        at_work = {token for one in self._fleet.workers.values() for token in one.attempts}
        left = [one for one in self._line if one.claim.attempt.fencing_token not in {0, *at_work}]
        kept_by = {one.claim_id for one in left}
        return {
            one.claim_id
            for one in self._line
            if one.held and (one.claim_id in kept_by or not self._line.waits_for(one, left))
        }

    def obstacle(self, claim: pb.Claim, comparison: Comparison) -> common_pb2.Reason | None:
        """Return what a task with such a claim would wait for now; None for nothing."""
        blockers = self._line.blockers(claim, comparison)
        if blockers:
            return claimed(claim, blockers[0].claim, Comparison())
        found = (obstacle(claim, comparison) for obstacle in self.obstacles)
        return next(filter(None, found), None)

    def _ask(
        self, change: ClaimChange, asked: Entry, wait_ns: int, comparison: Comparison
    ) -> pb.ClaimResult:
        entry = self._line.get(asked.claim_id) or asked
        known = entry.claim if entry is not asked else self._ended.get(asked.claim_id)
        if known is not None and (refusal := other_claim(known, asked.claim)):
            return pb.ClaimResult(claim_id=asked.claim_id, refusal=refusal)
        if entry is asked:
            in_line = asked.told or wait_ns > 0
            if not in_line and (blockers := self._line.blockers(asked.claim, comparison)):
                return must_wait(asked.claim, [one.claim for one in blockers])
            deadlock = self._line.ask(asked, comparison)
            if deadlock is not None:
                holders = [one.claim.holder for one in map(self._line.get, deadlock.circle) if one]
                return would_deadlock(asked.claim, deadlock, holders)
            if asked.held:
                self._begin(asked)
            change.save(stored(asked))
        if not entry.held and wait_ns:
            entry.expires_ns = self._now_ns() + wait_ns + _PLACE_NS
        return self._result(entry)

    def _new(self, holder: str, request: pb.ClaimRequest, *, told: bool) -> Entry:
        claim = pb.Claim(
            claim_id=request.claim_id,
            holder=holder,
            attempt=request.attempt if request.HasField("attempt") else None,
            resources=request.resources,
            state=pb.CLAIM_STATE_WAITING,
            asked_at=timestamp(self._fleet.environment.now_ns()),
        )
        lives_with = told or request.HasField("attempt")
        lease_ns = 0 if lives_with else duration_ns(request.lease) or _LEASE_NS
        return Entry(claim, lease_ns, self._now_ns() + lease_ns, told=told)

    def _release(
        self, change: ClaimChange, holder: str, claim_id: str, taken: bool
    ) -> pb.ClaimReportResult:
        entry = self._line.get(claim_id)
        if entry is not None and entry.claim.holder == holder:
            lost = taken and entry.told
            self._end(change, entry, pb.CLAIM_STATE_EXPIRED if lost else pb.CLAIM_STATE_RELEASED)
            return pb.ClaimReportResult(claim_id=claim_id)
        ended = self._ended.get(claim_id)
        if ended is not None and ended.holder == holder:
            if ended.state == pb.CLAIM_STATE_RELEASED:
                return pb.ClaimReportResult(claim_id=claim_id)
            return failed(claim_id, "CLAIM_ENDED", "its lease has ended")
        return failed(claim_id, "CLAIM_NOT_FOUND", f"{holder} has no claim {claim_id!r}")

    def _renew(self, holder: str, claim_id: str) -> pb.ClaimReportResult:
        entry = self._line.get(claim_id)
        if entry is not None and entry.claim.holder == holder:
            result = pb.ClaimReportResult(claim_id=claim_id)
            if entry.lease_ns and entry.held:
                entry.expires_ns = self._now_ns() + entry.lease_ns
                self._date(entry)
                result.expires_at.CopyFrom(entry.claim.expires_at)
            return result
        if claim_id in self._ended and self._ended[claim_id].holder == holder:
            return failed(claim_id, "CLAIM_ENDED", "it was released, or its lease has ended")
        return failed(claim_id, "CLAIM_NOT_FOUND", f"{holder} has no claim {claim_id!r}")

    async def _end_all(self, entries: list[Entry], state: pb.ClaimState) -> None:
        if entries:
            await self._apply(lambda change: self._end_those(change, entries, state))

    def _end_those(self, change: ClaimChange, entries: list[Entry], state: pb.ClaimState) -> None:
        for entry in entries:
            if self._line.get(entry.claim_id) is entry:
                self._end(change, entry, state)

    def _end(self, change: ClaimChange, entry: Entry, state: pb.ClaimState) -> None:
        freed = self._line.remove(entry.claim_id)
        entry.claim.state = state
        self._ended[entry.claim_id] = entry.claim
        while len(self._ended) > _ENDED_MAX:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            change.forgotten.append(oldest)
        change.save(stored(entry))
        # Only what ends lets others go on: who asks must not wake who waits, itself included.
        change.after.append(self._changed.wake)
        if entry.told and state == pb.CLAIM_STATE_EXPIRED:
            change.after.append(partial(self._lost, entry.claim))
        for one in freed:
            self._begin(one)
            change.save(stored(one))
            if one.told:
                change.after.append(partial(self._granted, one.claim))

    def _begin(self, entry: Entry) -> None:
        """Date a claim that was just granted."""
        entry.claim.granted_at.CopyFrom(timestamp(self._fleet.environment.now_ns()))
        if entry.lease_ns:
            entry.expires_ns = self._now_ns() + entry.lease_ns
            self._date(entry)

    def _date(self, entry: Entry) -> None:
        left_ns = entry.expires_ns - self._now_ns()
        at_ns = self._fleet.environment.now_ns() + left_ns
        entry.claim.expires_at.CopyFrom(timestamp(at_ns))

    def _result(self, entry: Entry) -> pb.ClaimResult:
        if not entry.held:
            found = map(self._line.get, entry.blockers)
            return must_wait(entry.claim, [one.claim for one in found if one])
        return pb.ClaimResult(claim_id=entry.claim_id, claim=entry.claim)

    def _granted(self, claim: pb.Claim) -> None:
        worker = self._fleet.workers.get(claim.holder)
        if worker is not None:
            worker.session.push(proceed=coordinator_pb2.Proceed(claim=claim))

    def _lost(self, claim: pb.Claim) -> None:
        worker = self._fleet.workers.get(claim.holder)
        if worker is not None:
            worker.session.push(claim_lost=coordinator_pb2.ClaimLost(claim=claim))

    def _now_ns(self) -> int:
        return self._fleet.environment.monotonic_ns()

    async def _apply(self, step: Callable[[ClaimChange], T]) -> T:
        """Take a step, and return its result once it is on disk."""
        result: T = await self._steps.add(step)
        return result

    async def _take(self, steps: list[Callable[[ClaimChange], Any]]) -> list[Any]:
        """Take steps in one commit; one that fails undoes them all, in memory too."""
        change = ClaimChange()
        try:
            results = []
            for step in steps:
                results.append(step(change))
                # Many that compare a lot must not hold up what is no claim.
                await asyncio.sleep(0)
            change.last_token = self._line.last_token
            if change.saved:
                await self._store.change_claims(self._fleet.project, change)
        except Exception as error:
            log.warning("claims could not be changed", error=str(error))
            self.restore()
            raise
        if change.saved:
            self.on_change()
            self._fleet.changed.wake()
        for call in change.after:
            call()
        return results


def stored(entry: Entry) -> StoredClaim:
    """Return an entry as it is stored."""
    return StoredClaim(entry.claim, entry.lease_ns, entry.told)
