"""A worker of the queue: leases batches, runs a job for each task, completes them.

python -m bench.queue.worker ADDRESS NAME JOB
"""

import asyncio
import os
import sys
from collections.abc import Callable

import grpc.aio
from coord.client import connect
from coord.times import SECOND, duration
from coord.v1 import common_pb2, queue_pb2, queue_pb2_grpc

from bench.processes import PROJECT

# Two batches under way: while one is in the hands of the server, the other's jobs run.
_LOOPS = 2
_BATCH = 64
_WAIT = duration(30 * SECOND)


def no_op() -> None:
    """Do nothing, as the jobs of all queues that are compared."""


def spawn() -> None:
    """Run a program that does nothing, and wait for its end."""
    pid = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitpid(pid, 0)


JOBS: dict[str, Callable[[], None]] = {"no_op": no_op, "spawn": spawn}


async def _loop(channel: grpc.aio.Channel, worker: str, job: Callable[[], None]) -> None:
    stub = queue_pb2_grpc.QueueServiceStub(channel)
    lease = queue_pb2.LeaseTasksRequest(
        project=PROJECT, worker=worker, max_tasks=_BATCH, wait=_WAIT
    )
    while True:
        leases = (await stub.LeaseTasks(lease)).leases
        attempts = [
            common_pb2.AttemptRef(task_id=one.spec.id, fencing_token=one.attempt.fencing_token)
            for one in leases
        ]
        if attempts:
            start = queue_pb2.StartTasksRequest(project=PROJECT, worker=worker, attempts=attempts)
            await stub.StartTasks(start)
            for _ in attempts:
                job()
            done = [queue_pb2.Completion(attempt=one) for one in attempts]
            await stub.CompleteTasks(
                queue_pb2.CompleteTasksRequest(project=PROJECT, worker=worker, completions=done)
            )


async def _main(address: str, name: str, job: str) -> None:
    async with connect(address, os.environ["COORD_TOKEN"]) as channel:
        print("{}", flush=True)
        async with asyncio.TaskGroup() as loops:
            for number in range(_LOOPS):
                loops.create_task(_loop(channel, f"{name}-{number}", JOBS[job]))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
