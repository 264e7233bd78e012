"""The grants that the limiter remembers: those still open, and those that ended lately.

They live in memory alone. A grant is forgotten when it expires: what it had taken then stands.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from coord.errors import CoordError, invalid_argument
from coord.v1 import limiter_pb2

from coord_limiter.bucket import Amounts, Gauge


class State(Enum):
    """Where a grant stands."""

    OPEN = auto()
    SETTLED = auto()
    RELEASED = auto()


class Want(NamedTuple):
    """What is wanted of the limiter; requests of a batch that want the same share it.

    Attributes:
        worker: For whom.
        buckets: The names of those that must have room.
        estimate: What it will use at most.
        lane: How urgent it is.
        required: The names of those that must be there.
    """

    worker: str
    buckets: frozenset[str]
    estimate: Amounts
    lane: int = limiter_pb2.LANE_NORMAL
    required: frozenset[str] = frozenset()


class Ask(NamedTuple):
    """A request for one grant.

    Attributes:
        grant_id: Chosen by the caller.
        want: What is wanted.
    """

    grant_id: str
    want: Want


@dataclass(slots=True)
class HeldGrant:
    """A grant as the limiter remembers it.

    Attributes:
        ask: What was asked for.
        serial: Rises with every grant.
        granted_ns: When, on the wall clock.
        expires_ns: When it is forgotten, on the monotonic clock.
        charged: What it was charged to; those that were granted together share the list.
        state: Where it stands.
        actual: What was used, once settled.
    """

    ask: Ask
    serial: int
    granted_ns: int
    expires_ns: int
    charged: list[Gauge]
    state: State = State.OPEN
    actual: Amounts | None = None

    def excess(self, gauge: Gauge, actual: Amounts) -> int:
        """Return by how much `actual` is above the estimate; negative where it is below."""
        estimate = self.ask.want.estimate
        return gauge.counted(estimate, actual) - estimate[gauge.dimension]

    def settle(self, actual: Amounts) -> None:
        """Correct it to what was used, for good."""
        for gauge in self.charged:
            gauge.meter.close(self.serial, self.excess(gauge, actual))
        self.state, self.actual = State.SETTLED, actual

    def release(self) -> None:
        """Give it back: the call was not made."""
        for gauge in self.charged:
            gauge.meter.close(self.serial, -self.ask.want.estimate[gauge.dimension])
        self.state = State.RELEASED


class GrantBook:
    """Grants by id, oldest first; all are remembered equally long."""

    def __init__(self) -> None:
        self._grants: OrderedDict[str, HeldGrant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._grants)

    def add(self, grant: HeldGrant) -> None:
        """Remember a grant."""
        self._grants[grant.ask.grant_id] = grant

    def all_new(self, grant_ids: Collection[str]) -> bool:
        """Tell whether no id is remembered, nor there twice."""
        one_of_each = set(grant_ids)
        return len(one_of_each) == len(grant_ids) and self._grants.keys().isdisjoint(one_of_each)

    def drop(self, grant: HeldGrant) -> None:
        """Forget a grant that was never answered."""
        self._grants.pop(grant.ask.grant_id, None)

    def expire(self, now_ns: int) -> None:
        """Forget the grants whose time has passed; an open one stands at its estimate."""
        while self._grants:
            oldest = next(iter(self._grants.values()))
            if oldest.expires_ns > now_ns:
                return
            if oldest.state is State.OPEN:
                oldest.settle(oldest.ask.want.estimate)
            self.drop(oldest)

    def extend(self, grant: HeldGrant, expires_ns: int) -> None:
        """Remember a grant for longer than all others."""
        grant.expires_ns = expires_ns
        self._grants.move_to_end(grant.ask.grant_id)

    def get(self, grant_id: str) -> HeldGrant | None:
        """Return the grant, if it is remembered."""
        return self._grants.get(grant_id)


def grant_id_reused(grant_id: str) -> CoordError:
    """Return the error for an id that was used for another request."""
    return invalid_argument(
        "GRANT_ID_REUSED",
        f"grant_id {grant_id} was used for another request: choose a new one",
        grant_id=grant_id,
    )
