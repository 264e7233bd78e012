"""A circuit breaker for workers: who fails again and again, while others do not, gets a rest.

After Nygard, "Release It!", 2007: closed, open for a while, then one try. Where everybody fails, it
is the tasks, and no breaker opens.
"""

from dataclasses import dataclass, field

from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2

_FAILURES_MAX = 3
_OPEN_NS, _OPEN_NS_MAX = 30 * SECOND, 600 * SECOND


@dataclass
class _Circuit:
    """How a worker has done lately.

    Attributes:
        tasks: At which tasks it has failed in a row.
        others_at_first: How many tasks had been completed by anybody at the first of them.
        open_ns: How long it is, or was last, open; 0 where it never was.
        until_ns: Until when it gets nothing, by the monotonic clock.
        trying: Whether the next result decides.
    """

    tasks: list[str] = field(default_factory=list)
    others_at_first: int = 0
    open_ns: int = 0
    until_ns: int = 0
    trying: bool = False


class Breaker:
    """The circuits of a project's workers, by name. In memory: a restart trusts everybody again."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._circuits: dict[str, _Circuit] = {}
        self._successes = 0

    @property
    def is_clear(self) -> bool:
        """Whether nobody has failed lately."""
        return not self._circuits

    def succeed(self, worker: str) -> bool:
        """Note that a worker has completed a task; return whether that closes its circuit."""
        self._successes += 1
        circuit = self._circuits.pop(worker, None)
        return circuit is not None and circuit.open_ns > 0

    def fail(self, worker: str, task_id: str) -> bool:
        """Note that a worker has failed at a task; return whether that opens its circuit."""
        circuit = self._circuits.setdefault(worker, _Circuit())
        if not circuit.tasks:
            circuit.others_at_first = self._successes
        circuit.tasks.append(task_id)
        if not circuit.trying and not self._is_its_own(circuit):
            return False
        circuit.open_ns = min(circuit.open_ns * 2, _OPEN_NS_MAX) or _OPEN_NS
        circuit.until_ns = self._environment.monotonic_ns() + circuit.open_ns
        circuit.trying = True
        return True

    def forget(self, worker: str) -> None:
        """Forget how a worker has done."""
        self._circuits.pop(worker, None)

    def wait_ns(self, worker: str) -> int:
        """Return for how long a worker is given nothing; 0 where it may be."""
        circuit = self._circuits.get(worker)
        if circuit is None or not circuit.open_ns:
            return 0
        return max(circuit.until_ns - self._environment.monotonic_ns(), 0)

    def is_trying(self, worker: str) -> bool:
        """Tell whether a worker gets one task only, to show that it can work again."""
        circuit = self._circuits.get(worker)
        return circuit is not None and circuit.trying

    def reason(self, worker: str) -> common_pb2.Reason | None:
        """Explain why a worker is given nothing; None where it may be."""
        wait_ns = self.wait_ns(worker)
        if not wait_ns:
            return None
        circuit = self._circuits[worker]
        seconds = f"{wait_ns / SECOND:.1f}"
        message = (
            f"{worker} has failed {len(circuit.tasks)} times in a row, last at {circuit.tasks[-1]},"
            f" while others have not; it gets one task to try in {seconds} s"
        )
        return common_pb2.Reason(
            code="BREAKER_OPEN", message=message, metadata={"seconds": seconds}
        )

    def _is_its_own(self, circuit: _Circuit) -> bool:
        """Tell whether failures are the worker's: at several tasks, while others succeeded."""
        enough = len(circuit.tasks) >= _FAILURES_MAX and len(set(circuit.tasks)) > 1
        return enough and self._successes > circuit.others_at_first
