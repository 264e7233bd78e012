"""What must hold in every history."""

from coord.v1 import claims_pb2
from coord.v1 import queue_pb2 as pb
from coord_coordinator.resources import common
from coord_runtime.globs import Comparison

_LIVE = {pb.TASK_STATE_ASSIGNED, pb.TASK_STATE_RUNNING, pb.TASK_STATE_MERGING}
_ARROWS = {
    pb.TASK_STATE_UNSPECIFIED: {pb.TASK_STATE_PENDING, pb.TASK_STATE_ABORTED},
    pb.TASK_STATE_PENDING: {
        pb.TASK_STATE_ASSIGNED,
        pb.TASK_STATE_CANCELLED,
        pb.TASK_STATE_ABORTED,
    },
    pb.TASK_STATE_ASSIGNED: {
        pb.TASK_STATE_RUNNING,
        pb.TASK_STATE_MERGING,
        pb.TASK_STATE_COMPLETE,
        pb.TASK_STATE_PENDING,
        pb.TASK_STATE_FAILED,
        pb.TASK_STATE_CANCELLED,
    },
    pb.TASK_STATE_RUNNING: {
        pb.TASK_STATE_MERGING,
        pb.TASK_STATE_COMPLETE,
        pb.TASK_STATE_PENDING,
        pb.TASK_STATE_FAILED,
        pb.TASK_STATE_CANCELLED,
    },
    pb.TASK_STATE_MERGING: {
        pb.TASK_STATE_COMPLETE,
        pb.TASK_STATE_PENDING,
        pb.TASK_STATE_FAILED,
        pb.TASK_STATE_CANCELLED,
    },
    pb.TASK_STATE_FAILED: {pb.TASK_STATE_PENDING},
    pb.TASK_STATE_ABORTED: {pb.TASK_STATE_PENDING},
    pb.TASK_STATE_CANCELLED: {pb.TASK_STATE_PENDING},
    pb.TASK_STATE_COMPLETE: set(),
}


class HistoryChecker:
    """Replays the queue's events.

    Attributes:
        states: The state of each task after the events so far.
        completed: Fencing token of the attempt that completed each task.
    """

    def __init__(self) -> None:
        self.states: dict[str, pb.TaskState] = {}
        self._sequence = 0
        self._token_max = 0
        self._tokens: dict[str, int] = {}
        self.completed: dict[str, int] = {}

    def take(self, event: pb.QueueEvent) -> None:
        """Check one event against all before it."""
        assert event.meta.sequence == self._sequence + 1, "events have numbers without gaps"
        self._sequence = event.meta.sequence
        if event.kind in (pb.QUEUE_EVENT_KIND_PAUSED, pb.QUEUE_EVENT_KIND_RESUMED):
            return
        state = self.states.get(event.task_id, pb.TASK_STATE_UNSPECIFIED)
        assert event.from_state == state, f"{event.task_id} was in another state"
        if event.kind == pb.QUEUE_EVENT_KIND_DEPENDENCIES_ADDED:
            return
        assert event.to_state in _ARROWS[state], f"{event.task_id}: no such arrow"
        if event.to_state == pb.TASK_STATE_ASSIGNED:
            assert event.fencing_token > self._token_max, "fencing tokens grow"
            self._token_max = event.fencing_token
            self._tokens[event.task_id] = event.fencing_token
        elif state in _LIVE:
            assert event.fencing_token == self._tokens[event.task_id], "only the live attempt acts"
        if event.to_state == pb.TASK_STATE_COMPLETE:
            assert event.task_id not in self.completed, "done once"
            self.completed[event.task_id] = event.fencing_token
        self.states[event.task_id] = event.to_state


class ClaimChecker:
    """Replays what became of claims: tokens grow, and none that meet are held at once.

    Attributes:
        held: The claims that are held, by id.
    """

    def __init__(self) -> None:
        self.held: dict[str, claims_pb2.Claim] = {}
        self._last_token = 0

    def take(self, claim: claims_pb2.Claim) -> None:
        """Check one claim against those that are held."""
        if claim.state != claims_pb2.CLAIM_STATE_GRANTED:
            self.held.pop(claim.claim_id, None)
        elif claim.claim_id not in self.held:
            assert claim.fencing_token > self._last_token, "fencing tokens grow"
            self._last_token = claim.fencing_token
            for other in self.held.values():
                same = claim.holder == other.holder
                assert same or common(claim, other, Comparison()) is None, f"{claim} and {other}"
            self.held[claim.claim_id] = claim
