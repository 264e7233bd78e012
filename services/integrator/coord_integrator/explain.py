"""Says why a change has not landed yet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coord.v1 import common_pb2, integrator_pb2

from coord_integrator.store import UNFINISHED, ChangeRow
from coord_integrator.trials import Entry, barrier_in_turn

Reason = common_pb2.Reason


@dataclass(frozen=True)
class Situation:
    """What the merge queue is about.

    Attributes:
        line: The changes that wait, in the order in which they are served.
        behind: For each change that waits for another one to end, that one.
        red_alone: The changes that were red alone.
        trials: The runs under way.
        slots: How many there may be.
        paused: Why nothing lands; None where it does.
        held: Why changes are held back, by id.
    """

    line: Sequence[Entry]
    behind: Mapping[str, str]
    red_alone: frozenset[str]
    trials: Sequence[integrator_pb2.TrialUnderWay]
    slots: int
    paused: Reason | None
    held: Mapping[str, Reason]

    def position(self, change_id: str) -> int:
        """Return a change's place in the line, from 1 on; 0 where it is not in it."""
        ids = [one.change_id for one in self.line]
        return ids.index(change_id) + 1 if change_id in ids else 0

    def trials_with(self, change_id: str) -> list[integrator_pb2.TrialUnderWay]:
        """Return the runs under way that contain a change."""
        return [trial for trial in self.trials if change_id in trial.change_ids]


def explain(row: ChangeRow, situation: Situation) -> list[Reason]:
    """Return why a change has not landed yet; nothing where it has ended."""
    if row.change.state not in UNFINISHED:
        return []
    return list(_reasons(row, situation))


def _reasons(row: ChangeRow, situation: Situation) -> Iterator[Reason]:
    change_id = row.change.change_id
    if situation.paused is not None:
        yield situation.paused
    elif not row.handed_over:
        yield Reason(code="NOT_HANDED_OVER", message="its lease is on its way to the merge queue")
    elif row.change.state == integrator_pb2.CHANGE_STATE_LANDING:
        yield Reason(code="NEXT", message="it is green and on its way to the target")
    else:
        if change_id in situation.red_alone:
            yield Reason(code="RED_ALONE", message="it was red alone, and is tried once more")
        yield _place(change_id, situation)


def _place(change_id: str, situation: Situation) -> Reason:
    barrier = barrier_in_turn(situation.line)
    if held := situation.held.get(change_id):
        return held
    if other := situation.behind.get(change_id):
        message = f"it conflicts with {other}, which is served first"
        return Reason(code="BEHIND", message=message, metadata={"change_id": other})
    if trials := situation.trials_with(change_id):
        return _under_check(change_id, trials)
    if barrier not in ("", change_id):
        message = f"{barrier} is served first, and lands by itself"
        return Reason(code="BARRIER", message=message, metadata={"change_id": barrier})
    if len(situation.trials) >= situation.slots:
        message = f"all {situation.slots} slots are busy"
        return Reason(code="NO_SLOT", message=message)
    return Reason(code="NEXT", message="the merge queue is about to take it")


def _under_check(change_id: str, trials: Sequence[integrator_pb2.TrialUnderWay]) -> Reason:
    others = {other for trial in trials for other in trial.change_ids} - {change_id}
    with_others = f" together with {', '.join(sorted(others))}" if others else " alone"
    return Reason(code="UNDER_CHECK", message=f"it is under check{with_others}")
