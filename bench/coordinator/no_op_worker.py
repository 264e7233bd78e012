"""A worker of the SDK that does nothing with its tasks: python -m bench.coordinator.no_op_worker"""

import asyncio
import json

import coord

_SLOTS, _AHEAD = 8, 8


async def main() -> None:
    worker = coord.Worker(slots=_SLOTS, prefetch=_AHEAD)

    @worker.handler
    async def work(_: coord.Task) -> str:
        return ""

    print(json.dumps({"ready": True}), flush=True)
    await worker.serve()


if __name__ == "__main__":
    asyncio.run(main())
