"""Server processes: started, waited for, and ended again."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from coord.client import connect
from coord_runtime.tokens import Kind, Principal, TokenMint, load_key

PROJECT = "bench"
ROOT = Path(__file__).resolve().parent.parent

_STOP_S = 30.0


@asynccontextmanager
async def started(command: Sequence[str], **environment: str) -> AsyncIterator[tuple[Process, Any]]:
    """Run a program; yield it with the line of JSON that it prints once it is ready."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=ROOT, env=os.environ | environment
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_S):
            await process.communicate()


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def token(state: Path, project: str = PROJECT) -> str:
    mint = TokenMint(load_key(state / "token.key"))
    return mint.mint(Principal(Kind.OPERATOR, "operator", project))


@asynccontextmanager
async def served(name: str, state: Path, **environment: str) -> AsyncIterator[tuple[str, str]]:
    """Serve one service alone, as `coord up --split` does; yield its address and a token."""
    folder = state / name
    command = python(f"coord_{name}", "--project", PROJECT, "--state", str(folder))
    async with started(command, **environment) as (_, ready):
        yield ready["address"], token(folder)


@asynccontextmanager
async def served_no_op(**environment: str) -> AsyncIterator[tuple[str, str]]:
    """Serve the no-op server. Its callers send a token too; it does not look at it."""
    async with started(python("bench.noop"), **environment) as (_, ready):
        yield ready["address"], "coord1." + "x" * 150


@asynccontextmanager
async def service(name: str, state: Path, **environment: str) -> AsyncIterator[grpc.aio.Channel]:
    """Serve one service alone; yield a channel to it."""
    async with served(name, state, **environment) as one, connect(*one) as channel:
        yield channel


@asynccontextmanager
async def no_op(**environment: str) -> AsyncIterator[grpc.aio.Channel]:
    """Serve the no-op server; yield a channel to it."""
    async with served_no_op(**environment) as one, connect(*one) as channel:
        yield channel
