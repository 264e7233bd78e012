"""What counts for a while only."""

from typing import Generic, TypeVar

from coord.environment import Environment

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lately(Generic[Key, Value]):
    """Remembers what was noted lately, and no more than that.

    Args:
        environment: Time.
        for_ns: For how long, by the monotonic clock.
    """

    def __init__(self, environment: Environment, for_ns: int) -> None:
        self._environment = environment
        self._for_ns = for_ns
        # The oldest first.
        self._noted: dict[Key, tuple[int, Value]] = {}

    def __len__(self) -> int:
        """Return how much is remembered."""
        return len(self._noted)

    def note(self, key: Key, value: Value) -> None:
        """Remember a value from now on."""
        self.forget(key)
        self._noted[key] = (self._environment.monotonic_ns() + self._for_ns, value)
        while not self._is_fresh(oldest := next(iter(self._noted))):
            del self._noted[oldest]

    def get(self, key: Key) -> Value | None:
        """Return what was noted lately; None where nothing was."""
        return self._noted[key][1] if key in self._noted and self._is_fresh(key) else None

    def forget(self, key: Key) -> None:
        """Forget a value, if it is remembered."""
        self._noted.pop(key, None)

    def _is_fresh(self, key: Key) -> bool:
        return self._noted[key][0] > self._environment.monotonic_ns()
