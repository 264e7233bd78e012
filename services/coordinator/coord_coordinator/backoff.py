"""Which workers are given nothing for a while, since their provider has said so."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from coord.environment import Environment
from coord.times import SECOND
from coord.v1 import common_pb2

from coord_coordinator.workers import Worker

# A limit that is named later is asked about again now and then: it may have been raised.
_LONGEST_NS = 3600 * SECOND
# Above that a user wants to know what can be done.
_LONG_NS = 120 * SECOND
# What a provider refuses, it refuses within seconds.
_PROBE_NS = 5 * SECOND


@dataclass
class _Limit:
    """A limit of a provider's, by the monotonic clock.

    Attributes:
        until_ns: Until when its workers are given nothing.
        probes: Who has been given a task after it, with nobody's answer yet.
    """

    until_ns: int
    probes: list[str] = field(default_factory=list)


class Backoff:
    """The limits that workers have hit, by provider. In memory: a restart asks the provider anew.

    When a limit has ended, one worker tries it alone, and every few seconds one more. All others
    follow as soon as one of them has reported something.

    Args:
        environment: Time.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._limits: dict[str, _Limit] = {}

    @property
    def is_clear(self) -> bool:
        """Whether nobody is held back."""
        return not self._limits

    def limit(self, worker: Worker, not_before_ns: int) -> bool:
        """Note a limit of a worker's provider, for at most an hour.

        Args:
            worker: Who has hit it.
            not_before_ns: When it ends, by the wall clock.

        Returns:
            Whether workers are held back by a limit that were not before.
        """
        wait_ns = min(not_before_ns - self._environment.now_ns(), _LONGEST_NS)
        key = _key(worker)
        before = self._limits.get(key)
        was_ns = 0 if before is None or before.probes else self.wait_ns(worker)
        if wait_ns > was_ns:
            self._limits[key] = _Limit(self._environment.monotonic_ns() + wait_ns)
        return was_ns <= 0 < wait_ns

    def begin(self, worker: Worker) -> None:
        """Note that a worker was given a task: after a limit, that is a probe."""
        limit = self._limits.get(_key(worker))
        if limit is not None:
            limit.probes.append(worker.name)
            limit.until_ns = self._environment.monotonic_ns() + _PROBE_NS

    def pass_probe(self, worker: Worker) -> bool:
        """Note that a worker's provider has answered; return whether others waited for that."""
        limit = self._limits.get(_key(worker))
        if limit is None or worker.name not in limit.probes:
            return False
        del self._limits[_key(worker)]
        return True

    def forget(self, worker: Worker, others: Iterable[Worker]) -> None:
        """Forget the limit of a worker, unless it is one of the others, too."""
        key = _key(worker)
        if key in self._limits and all(_key(one) != key for one in others):
            del self._limits[key]

    def wait_ns(self, worker: Worker) -> int:
        """Return for how long a worker is to be given nothing; 0 where it may be."""
        limit = self._limits.get(_key(worker))
        left_ns = 0 if limit is None else limit.until_ns - self._environment.monotonic_ns()
        return max(left_ns, 0)

    def reason(self, worker: Worker) -> common_pb2.Reason | None:
        """Explain why a worker is given nothing; None where it may be."""
        wait_ns = self.wait_ns(worker)
        if wait_ns == 0:
            return None
        until = datetime.fromtimestamp((self._environment.now_ns() + wait_ns) // SECOND, UTC)
        seconds, probes = wait_ns / SECOND, self._limits[_key(worker)].probes
        message = f"{_key(worker)} is rate limited until {until:%H:%M:%S} UTC ({seconds:.1f} s)"
        if probes:
            message = (
                f"the limit of {_key(worker)} has ended; {', '.join(probes)} tries it first, the"
                f" next follows in {seconds:.1f} s, and all once there is an answer"
            )
        elif wait_ns > _LONG_NS:
            message += "; its agent said so: where it is wrong, start the services again"
        return common_pb2.Reason(
            code="RATE_LIMITED",
            message=message,
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
