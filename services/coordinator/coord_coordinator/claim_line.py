"""The line for claims: who holds what, and who waits for whom.

Served in the order of asking: a request waits for all before it that it meets, holders and waiting
ones alike. So whom a request waits for never grows, but for who passes it (see `ask`), and a circle
of waiting owners can only be closed by a new request: looking for one then is enough. The wait-for
graph is that of Coffman, Elphick and Shoshani, "System Deadlocks", 1971. Who was refused so stays
refused until a claim of that circle has ended, be it one of its own: not by asking again at the
moment at which another one's patience ends does it come to its turn. That is not stored: a restart
finds who holds and who waits, so the next request that would close the circle is refused, be it the
other's, and from then on stays refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from coord.v1 import claims_pb2 as pb
from coord_runtime.globs import Comparison

from coord_coordinator.resources import ResourceIndex, common

_REFUSED_MAX = 1_000

# Who asks, for which attempt, and what for.
_Asked = tuple[str, int, tuple[bytes, ...]]


@dataclass(slots=True)
class Entry:
    """A claim in the line.

    Attributes:
        claim: The claim; held where its `fencing_token` is not 0.
        lease_ns: How long its lease is; 0 where it lives with its worker or attempt.
        expires_ns: When its lease ends, by the monotonic clock; of no meaning without one.
        told: Whether its holder hears on its stream when it is granted or lost.
        number: Its number in the order of asking, since the start.
        blockers: What it waits for, by claim id.
        waiters: What waits for it, by claim id.
    """

    claim: pb.Claim
    lease_ns: int = 0
    expires_ns: int = 0
    told: bool = False
    number: int = 0
    blockers: dict[str, None] = field(default_factory=dict)
    waiters: dict[str, None] = field(default_factory=dict)

    @property
    def claim_id(self) -> str:
        """The claim's id."""
        return self.claim.claim_id

    @property
    def held(self) -> bool:
        """Whether it is held, rather than waiting."""
        return self.claim.state == pb.CLAIM_STATE_GRANTED


@dataclass(frozen=True)
class Deadlock:
    """A circle that a request would close.

    Attributes:
        circle: The ids of claims, each waiting for the next; the last waits for the asker.
    """

    circle: list[str]


class ClaimLine:
    """All claims that are held or wait, in the order in which they were asked for.

    Args:
        last_token: The largest fencing token that was ever given.
    """

    def __init__(self, last_token: int = 0) -> None:
        self.last_token = last_token
        self._entries: dict[str, Entry] = {}
        self._of: dict[str, dict[str, Entry]] = {}
        self._index = ResourceIndex()
        self._asked = 0
        self._refused: dict[_Asked, list[str]] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries in order."""
        return iter(self._entries.values())

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(1 for entry in self if not entry.held)

    def get(self, claim_id: str) -> Entry | None:
        """Return the entry of a claim that is held or waits."""
        return self._entries.get(claim_id)

    def of(self, holder: str) -> list[Entry]:
        """Return what a holder holds or waits for, in order."""
        return list(self._of.get(holder, {}).values())

    def restore(self, entries: Iterable[Entry]) -> list[Entry]:
        """Put entries back, in the order of asking; return those that are granted by that."""
        waiting = []
        for entry in entries:
            if entry.held:
                self._insert(entry, [])
            else:
                waiting.append(entry)
        for entry in waiting:
            meeting = self._meeting(entry.claim, Comparison())
            self._line_up(entry, meeting, self._waited_for(entry.claim, meeting))
        return [entry for entry in waiting if entry.held]

    def blockers(self, claim: pb.Claim, comparison: Comparison) -> list[Entry]:
        """Return what a request would have to wait for now.

        Who waits already, and for the asker itself, is passed: it cannot go first.
        """
        return self._waited_for(claim, self._meeting(claim, comparison))

    def ask(self, entry: Entry, comparison: Comparison) -> Deadlock | None:
        """Grant a request, or put it in line; return the circle that it would close instead.

        So it is where the same request has met a circle all of which is still there.
        """
        meeting = self._meeting(entry.claim, comparison)
        blockers = self._waited_for(entry.claim, meeting)
        circle = self._refused_before(entry.claim) or self._circle(entry.claim, blockers)
        if circle:
            self._note_refusal(entry.claim, circle)
            return Deadlock(circle)
        self._line_up(entry, meeting, blockers)
        return None

    def waits_for(self, entry: Entry, owned: Iterable[Entry]) -> bool:
        """Tell whether an entry waits, however indirectly, for one of `owned`."""
        wanted = {one.claim_id for one in owned}
        return any(reached in wanted for reached in self._reached([entry]))

    def remove(self, claim_id: str) -> list[Entry]:
        """Take a claim out; return those that are granted by that, in order."""
        entry = self._entries.pop(claim_id)
        self._index.remove(entry.claim)
        of_holder = self._of[entry.claim.holder]
        del of_holder[claim_id]
        if not of_holder:
            del self._of[entry.claim.holder]
        for blocker in entry.blockers:
            del self._entries[blocker].waiters[claim_id]
        freed = []
        for waiter in entry.waiters:
            waiting = self._entries[waiter]
            del waiting.blockers[claim_id]
            if not waiting.blockers:
                self._grant(waiting)
                freed.append(waiting)
        return freed

    def _line_up(self, entry: Entry, meeting: list[Entry], blockers: list[Entry]) -> None:
        """Put a request behind its blockers and before those that it passes, or grant it."""
        self._insert(entry, blockers)
        for passed in meeting:
            if passed.claim_id not in entry.blockers:
                passed.blockers[entry.claim_id] = None
                entry.waiters[passed.claim_id] = None
        if not blockers:
            self._grant(entry)

    def _insert(self, entry: Entry, blockers: Iterable[Entry]) -> None:
        self._asked += 1
        entry.number = self._asked
        self._entries[entry.claim_id] = entry
        self._index.add(entry.claim)
        self._of.setdefault(entry.claim.holder, {})[entry.claim_id] = entry
        for blocker in blockers:
            entry.blockers[blocker.claim_id] = None
            blocker.waiters[entry.claim_id] = None

    def _grant(self, entry: Entry) -> None:
        self.last_token += 1
        entry.claim.state = pb.CLAIM_STATE_GRANTED
        entry.claim.fencing_token = self.last_token

    def _waited_for(self, claim: pb.Claim, meeting: list[Entry]) -> list[Entry]:
        if all(entry.held for entry in meeting):
            return meeting
        owned = [entry for entry in self.of(claim.holder) if _same_owner(entry.claim, claim)]
        return [entry for entry in meeting if entry.held or not self.waits_for(entry, owned)]

    def _meeting(self, claim: pb.Claim, comparison: Comparison) -> list[Entry]:
        """Return what a claim cannot be held beside, in no certain order."""
        found = (self._entries[claim_id] for claim_id in self._index.near(claim))
        return [
            entry
            for entry in found
            if not _same_owner(entry.claim, claim)
            and common(entry.claim, claim, comparison) is not None
        ]

    def _refused_before(self, claim: pb.Claim) -> list[str]:
        """Return the circle that such a request would have closed, while all of it is there."""
        circle = self._refused.get(_asked(claim), [])
        return circle if all(claim_id in self._entries for claim_id in circle) else []

    def _note_refusal(self, claim: pb.Claim, circle: list[str]) -> None:
        self._refused[_asked(claim)] = circle
        while len(self._refused) > _REFUSED_MAX:
            del self._refused[next(iter(self._refused))]

    def _circle(self, claim: pb.Claim, blockers: Iterable[Entry]) -> list[str]:
        """Return the way from a request's blockers back to its owner; empty where there is none."""
        came_from = self._reached(blockers)
        for claim_id in came_from:
            if _same_owner(self._entries[claim_id].claim, claim):
                return _way(came_from, claim_id)
        return []

    def _reached(self, begin: Iterable[Entry]) -> dict[str, str]:
        """Return every claim whose end something waits for, with the one that waits for it.

        A claim ends when its owner goes on; so it waits for all that its owner waits for.
        """
        came_from = {entry.claim_id: "" for entry in begin}
        todo = list(came_from)
        while todo:
            here = self._entries[todo.pop()]
            for blocker in self._owner_waits_for(here.claim):
                if blocker not in came_from:
                    came_from[blocker] = here.claim_id
                    todo.append(blocker)
        return came_from

    def _owner_waits_for(self, claim: pb.Claim) -> Iterator[str]:
        for entry in self.of(claim.holder):
            if entry.blockers and _same_owner(entry.claim, claim):
                yield from entry.blockers


def _asked(claim: pb.Claim) -> _Asked:
    resources = (one.SerializeToString(deterministic=True) for one in claim.resources)
    return claim.holder, claim.attempt.fencing_token, tuple(resources)


def _same_owner(one: pb.Claim, other: pb.Claim) -> bool:
    """Tell whether two claims do not stand in each other's way.

    Two attempts of one worker do; a claim that it has made for itself belongs to all of them.
    """
    if one.holder != other.holder:
        return False
    tokens = one.attempt.fencing_token, other.attempt.fencing_token
    return tokens[0] == tokens[1] or 0 in tokens


def _way(came_from: dict[str, str], claim_id: str) -> list[str]:
    way = [claim_id]
    while came_from[way[-1]]:
        way.append(came_from[way[-1]])
    return way[::-1]
