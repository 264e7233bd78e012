"""People who ask for claims, as tests have them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coord.times import SECOND, duration
from coord.v1 import claims_pb2

from tests.coordinator_rig import FLAGS, SERVICES, Fleet
from tests.serving import PROJECT, Clock, served

HELD, WAITING = claims_pb2.CLAIM_STATE_GRANTED, claims_pb2.CLAIM_STATE_WAITING


class Shells:
    """Asks for claims as people do."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.stub = fleet.coordinator

    async def ask(
        self, holder: str, claim_id: str, *paths: str, wait_s: float = 0, **more: Any
    ) -> claims_pb2.ClaimResult:
        resources = [claims_pb2.Resource(path=path) for path in paths]
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=resources, **more)
        return (await self.all(holder, request, wait_s=wait_s))[0]

    async def all(
        self, holder: str, *requests: claims_pb2.ClaimRequest, wait_s: float = 0
    ) -> list[claims_pb2.ClaimResult]:
        asking = claims_pb2.AcquireClaimsRequest(
            project=PROJECT, holder=holder, requests=requests, wait=duration(int(wait_s * SECOND))
        )
        return list((await self.stub.AcquireClaims(asking)).results)

    async def ask_in_vain(self, clock: Clock, holder: str, claim_id: str, path: str) -> None:
        """Ask, and let the time pass for which it is willing to wait."""
        asking = asyncio.create_task(self.ask(holder, claim_id, path, wait_s=0.1))
        while not asking.done():
            await asyncio.sleep(0.01)
            clock.pass_ns(SECOND // 100)
        assert (await asking).HasField("wait")

    async def release(self, holder: str, *ids: str) -> list[str]:
        request = claims_pb2.ReleaseClaimsRequest(project=PROJECT, holder=holder, claim_ids=ids)
        answer = await self.stub.ReleaseClaims(request)
        return [result.error.reason for result in answer.results]

    async def renew(self, holder: str, *ids: str) -> list[claims_pb2.ClaimReportResult]:
        request = claims_pb2.RenewClaimsRequest(project=PROJECT, holder=holder, claim_ids=ids)
        return list((await self.stub.RenewClaims(request)).results)

    async def standing(self, *paths: str) -> list[tuple[str, int]]:
        resources = [claims_pb2.Resource(path=path) for path in paths]
        request = claims_pb2.ListClaimsRequest(project=PROJECT, resources=resources)
        answer = await self.stub.ListClaims(request)
        return [(one.claim_id, one.state) for one in answer.claims]

    async def until_standing(self, *wanted: tuple[str, int]) -> None:
        async with asyncio.timeout(60):
            while await self.standing() != list(wanted):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def shells(
    folder: Path, way: str = "grpc", clock: Clock | None = None
) -> AsyncIterator[Shells]:
    async with served(SERVICES, folder, way, clock, FLAGS) as running:
        yield Shells(Fleet(running))
