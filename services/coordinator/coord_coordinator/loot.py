"""Which waiting attempt an idle worker takes from whom."""

from collections.abc import Iterable, Iterator, Mapping

from coord_coordinator.fitness import misfit
from coord_coordinator.workers import Worker, WorkerAttempt

Queue = tuple[Worker, list[WorkerAttempt]]


def fullest_queues(workers: Iterable[Worker]) -> list[Queue]:
    """Return what waits at workers that can be asked for it, the fullest queue first."""
    queues = ((one, waiting_at(one)) for one in workers if one.connected and one.version > 1)
    return sorted((queue for queue in queues if queue[1]), key=lambda one: -len(one[1]))


def steals(
    thieves: Iterable[Worker], queues: Iterable[Queue], coming: Mapping[str, int]
) -> Iterator[tuple[Worker, Worker, WorkerAttempt]]:
    """Yield who takes which attempt from whom: one for each free slot, one from each queue.

    Args:
        thieves: Workers with free slots.
        queues: The fullest first.
        coming: How many attempts are on their way to each worker already, by name.
    """
    left = list(queues)
    for thief in thieves:
        for _ in range(thief.free_slots - coming.get(thief.name, 0)):
            found = next(_loot(thief, left), None)
            if found is None:
                break
            left = [queue for queue in left if queue[0] is not found[0]]
            yield thief, *found


def waiting_at(worker: Worker) -> list[WorkerAttempt]:
    """Return what waits at a worker behind its slots, in the order in which it will start it."""
    begun = sum(one.running for one in worker.attempts.values())
    not_begun = [
        one
        for one in worker.attempts.values()
        if one.started and not one.running and not one.ending
    ]
    return not_begun[max(worker.hello.slots - begun, 0) :]


def _loot(thief: Worker, queues: Iterable[Queue]) -> Iterator[tuple[Worker, WorkerAttempt]]:
    """Yield what each victim would start last of what a thief may have."""
    for victim, waiting in queues:
        fitting = (one for one in reversed(waiting) if misfit(thief, one.spec) is None)
        attempt = next(fitting, None)
        if attempt is not None and victim is not thief:
            yield victim, attempt
