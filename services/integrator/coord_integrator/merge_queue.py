"""The merge queue: asks what to do next, and does it.

What has been learned of changes is in memory alone, but for the greens: after a crash or a pause
all that wait are QUEUED, and are tested anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from coord.environment import Environment
from coord.times import SECOND, timestamp_ns
from coord.v1 import common_pb2, integrator_pb2

from coord_integrator.chains import Chain, Chains
from coord_integrator.checkout import CheckoutFollower
from coord_integrator.endings import CHECKING, QUEUED, WAITING, Endings
from coord_integrator.estimates import Estimates, rates
from coord_integrator.evidence import Evidence, Rates, Trial
from coord_integrator.explain import Situation
from coord_integrator.landing import Lander
from coord_integrator.line import in_order
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.pauses import Pauses
from coord_integrator.readiness import Readiness
from coord_integrator.repository import Repository
from coord_integrator.slots import Slots
from coord_integrator.store import ChangeRow, IntegratorStore, Move
from coord_integrator.target import Standing
from coord_integrator.trials import Decision, Entry, decide
from coord_integrator.verdicts import Judge, how

_ENDINGS_LOOKED_AT = 500

Held = Mapping[str, common_pb2.Reason]


async def _nothing(changes: Sequence[integrator_pb2.Change], tip: str) -> Held:
    del changes, tip
    return {}


@dataclass(frozen=True)
class Parts:
    """What a merge queue works with."""

    repository: Repository
    store: IntegratorStore
    chains: Chains
    checkout: CheckoutFollower
    conflicts: Callable[[], Mapping[str, int]]
    endings: Endings
    judge: Judge
    lander: Lander
    metrics: IntegratorMetrics
    pauses: Pauses
    readiness: Readiness
    slots: Slots
    target: str


class MergeQueue:
    """Tests changes, lands them or gives them back.

    Args:
        parts: What it works with.
        environment: Time.
        slots: How many trials may be under way.
        ageing_ns: How much older makes up for one level of priority, in nanoseconds.
        hold_back: Tells of changes that wait, in order, and the newest landed commit, which are not
            to be tested for now, and why.
    """

    def __init__(
        self,
        parts: Parts,
        environment: Environment,
        *,
        slots: int,
        ageing_ns: int,
        hold_back: Callable[[Sequence[integrator_pb2.Change], str], Awaitable[Held]] = _nothing,
    ) -> None:
        self._parts = parts
        self._environment = environment
        self._slots = slots
        self._ageing_ns = ageing_ns
        self._hold_back = hold_back
        self._held: Held = {}
        # What came while that was asked waits for the next step.
        self._asked: frozenset[str] = frozenset()
        self._evidence: Evidence | None = None
        # The change that each of these conflicts with, and waits for.
        self._behind: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def step(self) -> bool:
        """Do what there is to do; False where nothing is left but to wait.

        On a full disk that is so: a check that fails there says nothing about a change.
        """
        async with self._lock:
            return await self._step()

    async def check_target(self) -> common_pb2.Reason | None:
        """Check the target as it stands, without any change; return why nothing lands if it is red.

        Raises:
            CoordError: UNAVAILABLE with reason DISK_FULL.
        """
        async with self._lock:
            return await self._parts.readiness.check()

    async def stand_down(self, why: str) -> None:
        """Stop all trials; their changes wait as if nothing had been tested of them."""
        await self._parts.slots.stop_all()
        self._evidence = None
        self._behind.clear()
        checking = self._parts.store.list_changes((CHECKING,))
        await self._parts.endings.queue_again([row for _, row in checking], why)

    def situation(self) -> Situation:
        """Return what there is to say of why changes wait."""
        evidence, line = self._evidence, self._line(self._waiting())
        red_alone = []
        if evidence is not None:
            risks = evidence.risks({one.change_id: one.risk for one in line}, self._rates())
            line = [replace(one, risk=risks[one.change_id]) for one in line]
            red_alone = [one.change_id for one in line if evidence.reds_alone(one.change_id)]
        return Situation(
            line,
            dict(self._behind),
            frozenset(red_alone),
            self._parts.slots.told(),
            self._slots,
            self._parts.store.paused(),
            dict(self._held),
        )

    async def _step(self) -> bool:
        parts = self._parts
        if parts.repository.full_disk():
            return False
        await parts.checkout.repair()
        await parts.lander.finish_rest()
        if parts.pauses.is_held:
            await self.stand_down("merging is paused")
            return False
        standing = await parts.readiness.stand()
        if standing is None:
            await self.stand_down("nothing can land for now")
            return False
        evidence = await self._evidence_on(standing)
        for trial, run in parts.slots.harvest():
            evidence.ended(trial, passed=run.passed)
        waiting = self._waiting()
        held = await self._hold_back([row.change for row in waiting.values()], standing.tip)
        self._held = {**held, **_of_other_targets(waiting.values(), self._parts.target)}
        self._asked = frozenset(waiting)
        return await self._advance(evidence, standing)

    async def _evidence_on(self, standing: Standing) -> Evidence:
        """Return what is known, with the base where the target stands."""
        evidence = self._evidence
        if evidence is None:
            await self.stand_down("its check is started anew")
        if evidence is None or evidence.base != standing.tip:
            proven = await self._parts.judge.is_vouched_for(standing.tip)
            if evidence is None:
                evidence = Evidence(standing.tip, proven=proven)
            else:
                evidence.moved(standing.tip, proven=proven)
        self._evidence = evidence
        return evidence

    async def _advance(self, evidence: Evidence, standing: Standing) -> bool:
        """Decide and act until nothing is left but to wait; True to read the target anew."""
        while True:
            waiting = self._waiting()
            self._forget_ended(evidence, waiting)
            decision = decide(
                self._line(waiting),
                evidence,
                self._parts.slots.trials,
                self._slots,
                self._rates(),
            )
            if decision.land:
                await self._land(evidence, decision.land, waiting, standing)
                return True
            if decision.prove_base and not await self._prove(evidence, standing):
                return False
            if not await self._act(decision, evidence, waiting):
                return False

    async def _act(
        self, decision: Decision, evidence: Evidence, waiting: Mapping[str, ChangeRow]
    ) -> bool:
        """Carry out a decision that does not land anything; False where there is nothing to do."""
        for change_id in decision.reject:
            await self._reject(waiting[change_id])
        await self._parts.slots.stop(decision.stop)
        for trial in decision.start:
            await self._start(trial, evidence, waiting)
        return decision != Decision()

    async def _land(
        self,
        evidence: Evidence,
        changes: tuple[str, ...],
        waiting: Mapping[str, ChangeRow],
        standing: Standing,
    ) -> None:
        commits = self._parts.chains.commits(standing.tip, changes)
        rows = [waiting[change_id] for change_id in changes]
        if await self._parts.lander.land(rows, commits, standing):
            evidence.landed(commits[-1], changes)

    async def _prove(self, evidence: Evidence, standing: Standing) -> bool:
        """Test the target itself; while it is red, nothing lands and nobody is blamed."""
        verdict = await self._parts.readiness.recheck(standing)
        if verdict.green:
            evidence.prove()
        else:
            await self.stand_down(verdict.message)
        return verdict.green

    async def _start(
        self, trial: Trial, evidence: Evidence, waiting: Mapping[str, ChangeRow]
    ) -> None:
        """Start a trial, unless some of its changes do not merge: then it is decided upon anew."""
        parts = self._parts
        rows = [waiting[change_id] for change_id in trial.changes]
        chain = await parts.chains.build(trial.base, rows)
        if chain.left_out:
            await self._set_aside(chain)
        elif await parts.judge.is_vouched_for(chain.commit):
            evidence.ended(trial, passed=True)
        else:
            for row in rows:
                await parts.endings.move({row.change.change_id: Move(CHECKING)}, (QUEUED,))
            parts.slots.start(trial, chain.commit)

    async def _set_aside(self, chain: Chain) -> None:
        """Give back what does not merge with the target; what only conflicts with another waits."""
        for left in chain.left_out:
            change_id = left.row.change.change_id
            if left.behind:
                self._behind[change_id] = left.behind
                self._behind.pop(left.behind, None)
            elif left.merge.conflicts:
                await self._parts.endings.reject_conflict(left.row, left.merge)
            else:
                await self._parts.endings.empty(left.row, "the target holds all of it already")

    async def _reject(self, row: ChangeRow) -> None:
        change_id = row.change.change_id
        reds = [run for run in self._parts.store.runs(change_id) if not run.passed]
        alone = [run for run in reds if run.change_ids[-1] == change_id]
        run = alone[-1]
        await self._parts.endings.reject_red(row, how(run, "the merged tree"), run.output)

    def _waiting(self) -> dict[str, ChangeRow]:
        """Return the changes that wait, by id, in the order in which they were submitted."""
        rows = [row for _, row in self._parts.store.list_changes(WAITING) if row.handed_over]
        self._parts.metrics.waiting.set(len(rows))
        oldest_ns = min(
            (timestamp_ns(row.change.submitted_at) for row in rows),
            default=self._environment.now_ns(),
        )
        age_s = (self._environment.now_ns() - oldest_ns) / SECOND
        self._parts.metrics.oldest_seconds.set(max(age_s, 0.0))
        return {row.change.change_id: row for row in rows}

    def _forget_ended(self, evidence: Evidence, waiting: Mapping[str, ChangeRow]) -> None:
        evidence.keep_only(waiting.keys())
        self._parts.chains.keep_only(waiting.keys())
        self._behind = {
            change: other
            for change, other in self._behind.items()
            if change in waiting and other in waiting
        }

    def _line(self, waiting: Mapping[str, ChangeRow]) -> list[Entry]:
        estimates = Estimates(self._parts.store.endings(_ENDINGS_LOOKED_AT))
        changes = in_order(
            (row.change for row in waiting.values()),
            self._ageing_ns,
            self._parts.conflicts(),
        )
        return [
            Entry(
                change.change_id,
                estimates.risk(change.category),
                urgent=change.urgent,
                barrier=change.barrier,
                held=self._is_held(change.change_id),
            )
            for change in changes
        ]

    def _is_held(self, change_id: str) -> bool:
        unasked = change_id not in self._asked
        return unasked or change_id in self._behind or change_id in self._held

    def _rates(self) -> Rates:
        return rates(*self._parts.store.run_counts())


def _of_other_targets(rows: Iterable[ChangeRow], target: str) -> Held:
    return {
        row.change.change_id: common_pb2.Reason(
            code="OTHER_TARGET",
            message=f"it was made for {row.target}, and changes land on {target} now: start the"
            f" services with --target {row.target}, or cancel and retry its task",
            metadata={"target": row.target},
        )
        for row in rows
        if row.target not in {"", target}
    }
