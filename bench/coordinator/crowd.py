"""Many workers that only live: connected, and sending heartbeats.

python -m bench.coordinator.crowd ADDRESS TOKEN PROJECT FIRST COUNT
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack, suppress

from coord.client import connect
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub

from bench.worker import Worker

_PER_CHANNEL = 100
_JOINING = 50


async def main(address: str, token: str, project: str, first: int, count: int) -> None:
    async with AsyncExitStack() as channels:
        workers = []
        for begin in range(0, count, _PER_CHANNEL):
            channel = await channels.enter_async_context(connect(address, token))
            stub = CoordinatorServiceStub(channel)
            names = range(first + begin, first + min(begin + _PER_CHANNEL, count))
            workers += [Worker(stub, project, f"w-{name:05}", 1) for name in names]
        few = asyncio.Semaphore(_JOINING)
        beating = await asyncio.gather(*(_join(one, few) for one in workers))
        print(json.dumps({"joined": len(workers)}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for beat in beating:
            beat.cancel()


async def _join(worker: Worker, few: asyncio.Semaphore) -> asyncio.Task[None]:
    async with few:
        await worker.join()
    return asyncio.create_task(_beat(worker))


async def _beat(worker: Worker) -> None:
    while True:
        with suppress(asyncio.InvalidStateError):
            await worker.beat()
        await asyncio.sleep(worker.heartbeat_s)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
