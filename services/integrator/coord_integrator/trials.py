"""Decides what is tested next, what lands, and what is rejected.

Changes are screened in groups on the present target, as many groups at once as there are slots,
and so large that as few runs as possible are needed (R. Dorfman, The detection of defective members
of large populations, 1943). What was green apart is certified together, behind what is under test
already; where that is red, the longest green beginning of it lands. Whatever is green on the
present target lands at once, however it came to be tested. Nothing here runs or waits: the service,
the simulation and the benchmark ask the same functions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coord_integrator.evidence import Evidence, Rates, Trial

# Red runs alone, on a green base, after which a change is rejected.
REDS_TO_REJECT = 2

_GROUP_MAX = 32
# A change that was green, and is less risky than this, is certified with others.
_RISK_CERTIFIED_MAX = 0.06
# What is less likely to be green than this is not built upon.
_CHANCE_MIN = 0.5


@dataclass(frozen=True)
class Entry:
    """A change that waits, as the decisions see it.

    Attributes:
        change_id: The change.
        risk: How likely it is to fail alone, before any run.
        urgent: Whether it is tested apart from others, so that none of them holds it up.
        barrier: Whether it may land only by itself.
        held: Whether it is neither to be tested nor to land for now.
    """

    change_id: str
    risk: float
    urgent: bool = False
    barrier: bool = False
    held: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do now: one of these, or nothing. What comes of it is decided upon anew.

    Attributes:
        prove_base: Whether the base itself is to be tested, since something is red on it.
        land: The changes to land, in their order; a run of exactly them was green.
        reject: The changes to reject.
        stop: The trials to stop, since they can tell nothing new.
        start: The trials to start.
    """

    prove_base: bool = False
    land: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    stop: tuple[Trial, ...] = ()
    start: tuple[Trial, ...] = ()


def decide(
    line: Sequence[Entry],
    evidence: Evidence,
    running: Sequence[Trial],
    slots: int,
    rates: Rates,
) -> Decision:
    """Decide what to do now.

    Args:
        line: The changes that wait, in the order in which they are to be served.
        evidence: What the runs have told.
        running: The trials under way.
        slots: How many may be under way.
        rates: How often runs are red for other reasons than a change that fails alone.
    """
    if evidence.reds and not evidence.is_proven:
        return Decision(prove_base=True)
    if land := _to_land(line, evidence):
        return Decision(land=land)
    reject = [one.change_id for one in line if evidence.reds_alone(one.change_id) >= REDS_TO_REJECT]
    if reject:
        return Decision(reject=tuple(reject))
    waiting = {one.change_id for one in line}
    stop = [trial for trial in running if _is_useless(trial, evidence, waiting)]
    if stop:
        return Decision(stop=tuple(stop))
    return Decision(start=_to_start(line, evidence, running, slots, rates))


def group_size(risk: float) -> int:
    """Return the size of group that needs the fewest runs a change, by Dorfman's formula."""

    def runs(size: int) -> float:
        return 1.0 if size == 1 else 1 / size + 1 - (1 - risk) ** size

    return min(range(1, _GROUP_MAX + 1), key=runs)


def _is_useless(trial: Trial, evidence: Evidence, waiting: set[str]) -> bool:
    """Tell whether a trial can tell nothing new: some of it is red already, or waits no more."""
    rest = evidence.on_base(trial)
    gone = not waiting.issuperset(trial.changes if rest is None else rest)
    return gone or evidence.is_hopeless(trial.changes)


def _to_land(line: Sequence[Entry], evidence: Evidence) -> tuple[str, ...]:
    """Return the longest green sequence that may land; nothing overtakes a barrier at the head.

    None with a change that is held back since its trial began.
    """
    waiting = {one.change_id for one in line if not one.held}
    barred = {one.change_id for one in line if one.barrier}
    if barrier := barrier_in_turn(line):
        return (barrier,) if (barrier,) in evidence.greens else ()
    found = [
        green
        for green in evidence.greens
        if waiting.issuperset(green) and not barred.intersection(green)
    ]
    return max(found, key=lambda green: (len(green), green), default=())


def barrier_in_turn(line: Sequence[Entry]) -> str:
    """Return the change that lands by itself and whose turn it is; empty where there is none.

    Changes that are held back lose their turn to it: a claim may last for hours.
    """
    first = next((one for one in line if not one.held), None)
    return first.change_id if first is not None and first.barrier else ""


def _to_start(
    line: Sequence[Entry],
    evidence: Evidence,
    running: Sequence[Trial],
    slots: int,
    rates: Rates,
) -> tuple[Trial, ...]:
    plan = _Plan(evidence, running, slots)
    if barrier := barrier_in_turn(line):
        if not plan.tests(barrier):
            plan.start((barrier,), again=True)
        return tuple(plan.starts)
    risks = evidence.risks({one.change_id: one.risk for one in line if not one.barrier}, rates)
    ready = [one.change_id for one in line if not one.barrier and not one.held]
    # Nothing is built upon what is held back since its trial began.
    risks = {change: risks[change] for change in ready}
    cleared = [
        change
        for change in ready
        if evidence.is_cleared(change) and risks[change] <= _RISK_CERTIFIED_MAX
    ]
    urgent = {one.change_id for one in line if one.urgent}
    if not any(set(rest) <= set(cleared) for rest in plan.under_way()):
        # While some of it is under way, more of it comes in the meantime: that waits for a slot.
        _certify(plan, cleared, risks)
    _screen(plan, [change for change in ready if change not in cleared], risks, urgent)
    _certify(plan, cleared, risks)
    _split(plan, cleared)
    if ready and not running and not plan.starts:
        # Whatever else is known: who has waited longest gets an answer of his own.
        plan.start((ready[0],), again=True)
    return tuple(plan.starts)


@dataclass
class _Plan:
    """The trials to start, as long as there are slots."""

    evidence: Evidence
    running: Sequence[Trial]
    slots: int
    starts: list[Trial] = field(default_factory=list)

    @property
    def free(self) -> int:
        return max(self.slots - len(self.running) - len(self.starts), 0)

    def tests(self, change: str) -> bool:
        """Tell whether a change is under test, on whatever base."""
        return any(change in trial.changes for trial in (*self.running, *self.starts))

    def under_way(self) -> list[tuple[str, ...]]:
        """Return what is under test on the base."""
        trials = map(self.evidence.on_base, (*self.running, *self.starts))
        return [rest for rest in trials if rest]

    def start(self, changes: tuple[str, ...], *, again: bool = False) -> None:
        """Start a trial, where there is a slot and it can tell something new.

        Args:
            changes: The changes.
            again: Whether to do so although it is under way, or was red.
        """
        known = changes in self.evidence.reds or changes in self.under_way()
        if known and not again:
            return
        if self.free and changes and not self.evidence.is_hopeless(changes):
            self.starts.append(Trial(self.evidence.base, changes))


def _certify(plan: _Plan, cleared: Sequence[str], risks: Mapping[str, float]) -> None:
    """Test what was green apart together, behind what is under test already."""
    chain = _chain(plan, risks)
    plan.start((*chain, *(change for change in cleared if change not in chain)))


def _screen(
    plan: _Plan, changes: Sequence[str], risks: Mapping[str, float], urgent: set[str]
) -> None:
    """Test groups of changes of which too little is known; who was red alone, alone again."""
    for change in changes:
        if plan.evidence.reds_alone(change) and not plan.tests(change):
            plan.start((change,), again=True)
    waiting = [change for change in changes if not plan.tests(change)]
    for group in _groups(plan, waiting, risks, urgent):
        trusted = not any(change in urgent or plan.evidence.suspicion(change) for change in group)
        behind = (*_chain(plan, risks), *group)
        plan.start(behind if trusted and _chance(behind, risks) >= _CHANCE_MIN else group)


def _groups(
    plan: _Plan, changes: Sequence[str], risks: Mapping[str, float], urgent: set[str]
) -> list[tuple[str, ...]]:
    """Return groups of equally risky changes; no larger than it takes to use all slots."""
    if not plan.free:
        return []
    size_max = math.ceil(len(changes) / plan.free)
    groups: list[list[str]] = []
    unfilled: dict[int, list[str]] = {}
    for change in changes:
        size = 1 if change in urgent else min(group_size(risks[change]), size_max)
        if suspects := plan.evidence.suspicion(change):
            size = min(size, math.ceil(suspects / 2))
        if size not in unfilled:
            unfilled[size] = []
            groups.append(unfilled[size])
        unfilled[size].append(change)
        if len(unfilled[size]) == size:
            del unfilled[size]
    return [tuple(group) for group in groups]


def _split(plan: _Plan, cleared: Sequence[str]) -> None:
    """Test beginnings of what is certified, so that the longest green one is known with it."""
    reds = [len(red) for red in plan.evidence.reds if red == tuple(cleared[: len(red)])]
    size = min(reds, default=len(cleared))
    count = min(plan.free, size - 1)
    for number in range(1, count + 1):
        plan.start(tuple(cleared[: math.ceil(size * number / (count + 1))]))


def _chain(plan: _Plan, risks: Mapping[str, float]) -> tuple[str, ...]:
    """Return the longest sequence under way that is likely to land; empty without one."""
    likely = [
        rest
        for rest in plan.under_way()
        if risks.keys() >= set(rest)
        and _chance(rest, risks) >= _CHANCE_MIN
        and not any(map(plan.evidence.suspicion, rest))
    ]
    return max(likely, key=len, default=())


def _chance(changes: Sequence[str], risks: Mapping[str, float]) -> float:
    return math.prod(1 - risks[change] for change in changes)
