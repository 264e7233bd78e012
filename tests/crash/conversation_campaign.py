"""Workers that talk with a real coordinator through a proxy that breaks their connections.

python -m tests.crash.conversation_campaign --schedules 200
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import structlog
from coord.client import CHANNEL_OPTIONS, TokenChannel
from coord.environment import SYSTEM
from coord.session import SessionSettings
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_runtime.tokens import Kind, Principal, TokenMint

from tests.coordinator_rig import SERVICES
from tests.crash.fault_proxy import FaultProxy, Weather
from tests.serving import PROJECT, served
from tests.simulation.conversation import begin, check, finish
from tests.simulation.talker import Talk, Talker

_WORKERS = ("w1", "w2", "w3")
_STORM_S = 3.0
_CALM_S = 30.0
_AT_ONCE = 4
_FLAGS: dict[str, dict[str, Any]] = {
    "coordinator": {"repository": False, "heartbeat_s": 0.2, "grace_s": 1.5, "renew_s": 0.3}
}
# All times are a tenth of the usual ones; so are those of a dead connection.
_OPTIONS = {
    "grpc.keepalive_time_ms": 500,
    "grpc.keepalive_timeout_ms": 500,
    "grpc.http2.ping_timeout_ms": 500,
    "grpc.max_reconnect_backoff_ms": 200,
}
_SETTINGS = SessionSettings(backoff_initial_s=0.02, backoff_max_s=0.2, welcome_timeout_s=2.0)


async def history(folder: Path, seed: int) -> None:
    """Run one history; raise AssertionError where something that must hold does not."""
    chance = Random(seed)
    weather = Weather(delay_s=chance.choice([0.0, 0.02]), fate_s=1.0, stall_s=2.0)
    talk = Talk()
    async with (
        served(SERVICES, folder, "grpc", flags=_FLAGS) as running,
        FaultProxy(running.node.address, chance, weather) as proxy,
        _talkers(proxy.address, running.node.mint, chance, talk) as talkers,
    ):
        sessions = asyncio.gather(*(one.run() for one in talkers.values()))
        queue: Any = QueueServiceStub(running.channel(Kind.OPERATOR, "operator"))
        try:
            await begin(queue, PROJECT, talkers, SYSTEM)
            await asyncio.sleep(_STORM_S)
            proxy.calm = True
            await finish(queue, PROJECT, talkers, talk, _CALM_S)
            await asyncio.wait_for(sessions, _CALM_S)
        finally:
            sessions.cancel()
    check(folder, PROJECT, talk)


def own_channel(address: str, token: str, options: Mapping[str, int]) -> TokenChannel:
    """Return a channel with a connection of its own, as a process of its own has it."""
    chosen = {**dict(CHANNEL_OPTIONS), **options, "grpc.use_local_subchannel_pool": 1}
    return TokenChannel(grpc.aio.insecure_channel(address, options=[*chosen.items()]), token)


@asynccontextmanager
async def _talkers(
    address: str, mint: TokenMint, chance: Random, talk: Talk
) -> AsyncIterator[dict[str, Talker]]:
    async with AsyncExitStack() as stack:
        talkers = {}
        for name in _WORKERS:
            token = mint.mint(Principal(Kind.WORKER, name, PROJECT))
            channel = await stack.enter_async_context(own_channel(address, token, _OPTIONS))
            talkers[name] = Talker(
                name,
                channel,
                SYSTEM,
                chance,
                talk,
                project=PROJECT,
                pace_s=0.2,
                settings=_SETTINGS,
            )
        yield talkers


async def histories(first: int, count: int) -> list[str]:
    """Run histories, some at a time; return what has broken."""
    free, broken = asyncio.Semaphore(_AT_ONCE), []

    async def one(seed: int) -> None:
        async with free:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    await history(Path(folder), seed)
                except (AssertionError, grpc.aio.AioRpcError, TimeoutError) as error:
                    broken.append(f"seed {seed}: {error!r:.300}")

    await asyncio.gather(*(one(seed) for seed in range(first, first + count)))
    return broken


def main() -> None:
    """Run histories; name the seed of each that breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begin_s = time.monotonic()
    broken = asyncio.run(histories(options.first, options.schedules))
    said = (
        f"{options.schedules} histories over sockets, {len(broken)} broken,"
        f" {time.monotonic() - begin_s:.0f} s"
    )
    print(*broken, said, sep="\n")  # noqa: T201 - what the campaign found.
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
