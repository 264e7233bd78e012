"""The same no-op job over workers' streams and through Dask: two worker processes each."""

from contextlib import AsyncExitStack
from pathlib import Path

from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

from bench.processes import python, started
from bench.queue.jobs import Ours
from bench.queue.peers import dask
from bench.report import Row, ratios, row
from bench.rounds import in_turns
from bench.spine.host import host

_WORKERS = 2
_TASKS = 1_000
_ROUNDS = 3


async def run(state: Path) -> list[Row]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            host(state, "--set", "coordinator.strategy=work_stealing")
        )
        mint = TokenMint(load_key(state / "state" / "token.key"))
        for number in range(_WORKERS):
            name = f"w{number}"
            identity = {
                "COORD_ADDRESS": running.address,
                "COORD_PROJECT": running.project,
                "COORD_TOKEN": mint.mint(Principal(Kind.WORKER, name, running.project)),
                "COORD_WORKER": name,
            }
            worker = python("bench.coordinator.no_op_worker")
            await stack.enter_async_context(started(worker, **identity))
        ours = Ours(running.channel, running.project)
        theirs = await stack.enter_async_context(dask())
        jobs = await in_turns(
            {"coord": lambda: ours.rate(_TASKS), "dask": lambda: theirs(_TASKS)}, _ROUNDS
        )
    case = "no-op jobs over streams, 2 workers of the SDK, synced"
    return [
        row(case, "tasks/s", jobs["coord"]),
        row(
            f"{case}: times dask, in memory", "times", ratios(jobs["coord"], jobs["dask"]), goal=5.0
        ),
    ]
