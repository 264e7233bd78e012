"""A thousand reserves from four processes at once never pass a cap."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from coord.v1.ledger_pb2_grpc import LedgerServiceStub
from coord_ledger.service import LedgerService
from coord_runtime.tokens import Kind

from bench.racer import race, racing
from tests.serving import PROJECT, served


async def test_exactly_fifty_of_a_thousand_dimes_fit_into_five_dollars(tmp_path: Path) -> None:
    async with served(LedgerService, tmp_path, "grpc") as running, AsyncExitStack() as stack:
        channel = running.channel(Kind.OPERATOR, "operator")
        token = channel._authorization[1].removeprefix("Bearer ")  # type: ignore[attr-defined]
        processes = await racing(stack, running.node.address, token, PROJECT)
        stub: Any = LedgerServiceStub(channel)
        for number in range(3):
            _, succeeded = await race(stub, processes, f"run-{number}", PROJECT)
            assert succeeded == 50
