"""Which workers are given nothing for a while, since their provider has said so."""

from collections.abc import Iterable
from datetime import UTC, datetime

from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2

from coord_coordinator.workers import Worker

# A limit that is named later is asked about again now and then: it may have been raised.
_LONGEST_NS = 3600 * SECOND


class Backoff:
    """The limits that workers have hit, by provider. In memory: a restart asks the provider anew.

    Args:
        environment: Time.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._until_ns: dict[str, int] = {}

    def limit(self, worker: Worker, not_before_ns: int) -> bool:
        """Note a limit of a worker's provider, for at most an hour.

        Args:
            worker: Who has hit it.
            not_before_ns: When it ends, by the wall clock.

        Returns:
            Whether workers are held back that were not before.
        """
        wait_ns = min(not_before_ns - self._environment.now_ns(), _LONGEST_NS)
        was_ns, key = self.wait_ns(worker), _key(worker)
        if wait_ns > was_ns:
            self._until_ns[key] = self._environment.monotonic_ns() + wait_ns
        return was_ns <= 0 < wait_ns

    def wait_ns(self, worker: Worker) -> int:
        """Return for how long a worker is to be given nothing; 0 where it may be."""
        until_ns = self._until_ns.get(_key(worker))
        left_ns = 0 if until_ns is None else until_ns - self._environment.monotonic_ns()
        return max(left_ns, 0)

    def reason(self, worker: Worker) -> common_pb2.Reason | None:
        """Explain why a worker is given nothing; None where it may be."""
        wait_ns = self.wait_ns(worker)
        if wait_ns == 0:
            return None
        until = datetime.fromtimestamp((self._environment.now_ns() + wait_ns) // SECOND, UTC)
        seconds = wait_ns / SECOND
        return common_pb2.Reason(
            code="RATE_LIMITED",
            message=f"{_key(worker)} is rate limited until {until:%H:%M:%S} UTC ({seconds:.1f} s)",
            metadata={
                "provider": worker.hello.provider,
                "seconds": f"{seconds:.3f}",
                "until": until.isoformat(),
            },
        )

    def soonest(self, workers: Iterable[Worker]) -> common_pb2.Reason | None:
        """Explain why none of the workers is given anything; None where one may be."""
        first = min(workers, key=self.wait_ns, default=None)
        return None if first is None else self.reason(first)


def _key(worker: Worker) -> str:
    provider = worker.hello.provider
    return f"provider {provider}" if provider else f"worker {worker.name}"
