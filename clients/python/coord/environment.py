"""Time, chance and ids: the only module that asks the machine for them.

Everything else takes an `Environment`, so that a simulation can stand in for the machine: one seed,
one history.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random as Random  # noqa: PLC0414 - who takes chance needs its type.
from random import SystemRandom


@dataclass(frozen=True)
class Environment:
    """The world outside the process, as Coord sees it.

    Attributes:
        now_ns: Wall clock, in nanoseconds since 1970 (UTC). It may jump.
        monotonic_ns: A clock that never goes back, in nanoseconds from an arbitrary start.
        random: The source of chance.
    """

    now_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    random: Random = field(default_factory=SystemRandom)

    def new_id(self, prefix: str = "") -> str:
        """Return `prefix` and 16 hexadecimal digits of chance."""
        return f"{prefix}{self.random.getrandbits(64):016x}"


SYSTEM = Environment()
