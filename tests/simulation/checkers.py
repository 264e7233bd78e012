"""What must hold in every history."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import product

from coord.v1 import claims_pb2
from coord.v1 import queue_pb2 as pb

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


def spec_in(queue: sqlite3.Connection, task_id: str) -> pb.TaskSpec:
    """Return a task as it was added to the queue that has this database."""
    query = "SELECT spec FROM specs JOIN tasks ON number = task WHERE id = ?"
    (body,) = queue.execute(query, (task_id,)).fetchone()
    return pb.TaskSpec.FromString(body)


class HistoryChecker:
    """Replays the queue's events.

    Args:
        spec: Returns a task as it was added.

    Attributes:
        states: The state of each task after the events so far.
        completed: Fencing token of the attempt that completed each task.
    """

    def __init__(self, spec: Callable[[str], pb.TaskSpec]) -> None:
        self.states: dict[str, pb.TaskState] = {}
        self._spec = spec
        self._paused = False
        self._sequence = 0
        self._token_max = 0
        self._tokens: dict[str, int] = {}
        self.completed: dict[str, int] = {}

    def take(self, event: pb.QueueEvent) -> None:
        """Check one event against all before it."""
        assert event.meta.sequence == self._sequence + 1, "events have numbers without gaps"
        self._sequence = event.meta.sequence
        if event.kind in (pb.QUEUE_EVENT_KIND_PAUSED, pb.QUEUE_EVENT_KIND_RESUMED):
            self._paused = event.kind == pb.QUEUE_EVENT_KIND_PAUSED
            return
        state = self.states.get(event.task_id, pb.TASK_STATE_UNSPECIFIED)
        assert event.from_state == state, f"{event.task_id} was in another state"
        if event.kind == pb.QUEUE_EVENT_KIND_DEPENDENCIES_ADDED:
            return
        assert event.to_state in _ARROWS[state], f"{event.task_id}: no such arrow"
        if event.to_state == pb.TASK_STATE_ASSIGNED:
            assert event.fencing_token > self._token_max, "fencing tokens grow"
            assert not self._paused, f"{event.task_id} was given away by a queue that is paused"
            for dep in self._spec(event.task_id).deps:
                done = self.states.get(dep) == pb.TASK_STATE_COMPLETE
                assert done, f"{event.task_id} was given away before {dep} was done"
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
                assert same or not _collide(claim, other), f"{claim} and {other}"
            self.held[claim.claim_id] = claim


def _collide(one: claims_pb2.Claim, other: claims_pb2.Claim) -> bool:
    """Tell whether two claims cannot be held at once; by other means than the coordinator's."""
    for mine, theirs in product(one.resources, other.resources):
        if mine.shared and theirs.shared:
            continue
        if mine.name == theirs.name and meet([mine.path], [theirs.path]):
            return True
    return False


def meet(some: Iterable[str], others: Iterable[str]) -> bool:
    """Tell whether two lists of globs are seen to match one path; not all that do are."""
    return any(
        re.fullmatch(_pattern(one), path) and re.fullmatch(_pattern(other), path)
        for one, other in product(some, others)
        for path in (*_samples(one), *_samples(other))
    )


def _samples(glob: str) -> Iterator[str]:
    """Yield paths that a glob matches."""
    yield glob.replace("**", "x").replace("*", "x")
    yield glob.replace("**", "x/y").replace("*", "x")


def _pattern(glob: str) -> str:
    pieces = {"**": ".+", "*": "[^/]*"}
    return "".join(pieces.get(one) or re.escape(one) for one in re.split(r"(\*\*|\*)", glob))
