"""Serves one service alone, until SIGTERM or SIGINT."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from coord.errors import CoordError

from coord_runtime.config import Sections
from coord_runtime.logs import configure
from coord_runtime.node import Node, NodePlan
from coord_runtime.service import Service


def serve(service: type[Service]) -> None:
    """Run `service` as the command line says. Prints one line of JSON once it serves."""
    arguments = _parser(service).parse_args()
    configure(arguments.log_level)
    try:
        asyncio.run(_serve(_plan(service, arguments), with_parent=arguments.with_parent))
    except CoordError as error:
        sys.exit(f"coord_{service.NAME}: {error}")


async def run_until_stopped(node: Node, *, with_parent: bool = False) -> None:
    """Wait for SIGTERM or SIGINT, then drain and stop; a second signal cuts the drain short.

    Args:
        node: What to stop.
        with_parent: Stop also when standard input ends, as it does when the parent dies.
    """
    loop, signals = asyncio.get_running_loop(), asyncio.Queue[int]()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    if with_parent:
        loop.add_reader(sys.stdin, _parent_died, loop, signals)
    await signals.get()
    drain, again = asyncio.ensure_future(node.drain()), asyncio.ensure_future(signals.get())
    await asyncio.wait({drain, again}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drain, again):
        task.cancel()
    await asyncio.gather(drain, again, return_exceptions=True)
    await node.stop()


def _parent_died(loop: asyncio.AbstractEventLoop, signals: asyncio.Queue[int]) -> None:
    loop.remove_reader(sys.stdin)
    # Twice: nobody is left to wait for a drain.
    signals.put_nowait(signal.SIGTERM)
    signals.put_nowait(signal.SIGTERM)


async def _serve(plan: NodePlan, *, with_parent: bool) -> None:
    node = await Node.start(plan)
    print(  # noqa: T201 - whoever started the process waits for this line.
        json.dumps({"address": node.address, "metrics": node.metrics_address}), flush=True
    )
    await run_until_stopped(node, with_parent=with_parent)


def _plan(service: type[Service], arguments: argparse.Namespace) -> NodePlan:
    return NodePlan(
        services=[service],
        project=arguments.project,
        state=arguments.state,
        peers=dict(peer.split("=", 1) for peer in arguments.peer),
        flags=parse_flags(arguments.set),
        config_file=arguments.config,
    )


def parse_flags(settings: list[str]) -> Sections:
    """Return settings by section and key, from lines such as `queue.lease_s=30`."""
    flags: Sections = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        section, _, name = key.partition(".")
        flags.setdefault(section, {})[name] = value
    return flags


def _parser(service: type[Service]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"coord_{service.NAME}", description=service.__doc__)
    option: Any = parser.add_argument
    option("--project", required=True, help="the project to serve")
    option("--state", required=True, type=Path, help="the project's state folder")
    option("--peer", action="append", default=[], metavar="NAME=ADDRESS", help="another service")
    option("--config", type=Path, help="a TOML file with settings")
    option("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting")
    option("--with-parent", action="store_true", help="stop when standard input ends")
    option("--log-level", default="info", help="debug, info, warning or error")
    return parser
