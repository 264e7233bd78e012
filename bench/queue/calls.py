"""Lease and complete: one task a call, and in batches."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.processes import python, served, served_no_op, started
from bench.report import Row, compared
from bench.rounds import in_turns

_PROCESSES = 2


class Load:
    """Processes of clients that run a case together."""

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes

    def rate(self, case: str) -> Callable[[], Awaitable[float]]:
        """Return what runs a case once, and returns tasks a second."""

        async def run() -> float:
            await self._ask(case)
            parts = await self._ask("go")
            tasks = sum(one["tasks"] for one in parts)
            begin, end = min(one["begin"] for one in parts), max(one["end"] for one in parts)
            return float(tasks / (end - begin))

        return run

    async def _ask(self, line: str) -> list[dict[str, Any]]:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n".encode())
        return await asyncio.gather(*(_answer(process) for process in self._processes))


async def _answer(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    answer: dict[str, Any] = json.loads(await process.stdout.readline())
    return answer


@asynccontextmanager
async def _load(address: str, token: str) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        commands = [python("bench.queue.load", address, f"c{one}") for one in range(_PROCESSES)]
        entered = [
            await stack.enter_async_context(started(one, COORD_TOKEN=token)) for one in commands
        ]
        yield Load([process for process, _ in entered])


async def run(state: Path) -> list[Row]:
    async with (
        served("queue", state) as ours,
        served_no_op() as limit,
        _load(*ours) as coord,
        _load(*limit) as no_op,
    ):
        sides = {"coord": coord, "no-op": no_op}
        unary = await in_turns({name: one.rate("unary") for name, one in sides.items()})
        batched = await in_turns({name: one.rate("batched") for name, one in sides.items()})
    return [
        *compared("lease + complete, one a call, 32 clients", "tasks/s", unary, goal=0.75),
        *compared(
            "add + lease + start + complete, batches of 64",
            "tasks/s",
            batched,
            value_goal=25_000,
        ),
    ]
