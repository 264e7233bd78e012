"""The virtual time of an ideal fair queue, which serves all who have work at once, by weight."""

from collections.abc import Hashable
from typing import Generic, TypeVar

F = TypeVar("F", bound=Hashable)


class FairClock(Generic[F]):
    """Virtual time passes as fast as the work of a flow with weight 1 would be done.

    Attributes:
        virtual: The virtual time, in nanoseconds, as of the last call.
    """

    def __init__(self, now_ns: int) -> None:
        self.virtual = 0.0
        self._now_ns = now_ns
        # Of the flows that the ideal queue still serves: when they are finished, and their weights.
        self._finish: dict[F, float] = {}
        self._weights: dict[F, float] = {}

    def advance(self, now_ns: int) -> None:
        """Let time pass."""
        left = float(now_ns - self._now_ns)
        self._now_ns = now_ns
        while self._finish and left > 0:
            weights = sum(self._weights.values())
            flow = min(self._finish, key=self._finish.__getitem__)
            needed = (self._finish[flow] - self.virtual) * weights
            if needed > left:
                self.virtual += left / weights
                return
            left -= max(0.0, needed)
            self.virtual = max(self.virtual, self._finish.pop(flow))
            del self._weights[flow]

    def add(self, flow: F, work: float, weight: float, now_ns: int) -> float:
        """Add work to a flow, already divided by its weight; return when it is finished."""
        self.advance(now_ns)
        finish = max(self.virtual, self._finish.get(flow, self.virtual)) + work
        self._finish[flow], self._weights[flow] = finish, weight
        return finish

    def take_back(self, flow: F, work: float) -> None:
        """Take work off a flow that was not done."""
        if flow in self._finish:
            self._finish[flow] = max(self.virtual, self._finish[flow] - work)
