"""The calls about claims."""

from coord.errors import failed_precondition
from coord.v1 import claims_pb2, common_pb2
from coord_runtime.calls import Call
from coord_runtime.checks import check_id, check_ids, page_size
from coord_runtime.paging import next_page_token, page_start
from coord_runtime.pipeline import check_own_worker
from coord_runtime.tokens import Kind

from coord_coordinator.claims import Claims
from coord_coordinator.fleet import Fleet
from coord_coordinator.messages import check_claim_request, check_resources, check_wait


class ClaimCalls:
    """Answers calls about claims, of workers and of shells."""

    def __init__(self, fleet: Fleet, claims: Claims) -> None:
        self._fleet = fleet
        self._claims = claims

    async def acquire_claims(
        self, request: claims_pb2.AcquireClaimsRequest, call: Call
    ) -> claims_pb2.AcquireClaimsResponse:
        """Ask for claims, and wait for them if wanted."""
        self._check_holder(request.holder, call)
        for one in request.requests:
            check_claim_request(one)
            if one.HasField("attempt"):
                self._check_attempt(request.holder, one.attempt)
        wait_ns = check_wait(request.wait)
        results = await self._claims.acquire(request.holder, request.requests, wait_ns)
        return claims_pb2.AcquireClaimsResponse(results=results)

    async def list_claims(
        self, request: claims_pb2.ListClaimsRequest, call: Call
    ) -> claims_pb2.ListClaimsResponse:
        """List claims that are held or wait."""
        del call
        check_resources(request.resources)
        size, after = page_size(request.page_size), [*page_start(request), 0][0]
        found = self._claims.find(request.holder, request.resources, after)
        if request.keeps_changes:
            keeping = self._claims.keeping_changes()
            found = [entry for entry in found if entry.claim_id in keeping]
        more = len(found) > size
        return claims_pb2.ListClaimsResponse(
            claims=[entry.claim for entry in found[:size]],
            next_page_token=next_page_token(request, [found[size - 1].number]) if more else "",
        )

    async def release_claims(
        self, request: claims_pb2.ReleaseClaimsRequest, call: Call
    ) -> claims_pb2.ReleaseClaimsResponse:
        """Give claims back."""
        self._check_holder(request.holder, call)
        check_ids("claim_ids", request.claim_ids)
        taken = call.principal.kind is not Kind.WORKER
        results = await self._claims.release(request.holder, request.claim_ids, taken=taken)
        return claims_pb2.ReleaseClaimsResponse(results=results)

    async def renew_claims(
        self, request: claims_pb2.RenewClaimsRequest, call: Call
    ) -> claims_pb2.RenewClaimsResponse:
        """Renew the leases of claims."""
        self._check_holder(request.holder, call)
        check_ids("claim_ids", request.claim_ids)
        results = self._claims.renew(request.holder, request.claim_ids)
        return claims_pb2.RenewClaimsResponse(results=results)

    def _check_holder(self, holder: str, call: Call) -> None:
        """Check that a worker names itself, and that nobody else uses the name of one."""
        check_id("holder", holder)
        if call.principal.kind is Kind.WORKER:
            check_own_worker(call.principal, holder)

    def _check_attempt(self, holder: str, attempt: common_pb2.AttemptRef) -> None:
        worker = self._fleet.workers.get(holder)
        if worker is None or attempt.fencing_token not in worker.attempts:
            raise failed_precondition(
                "STALE_TOKEN", f"{holder} does not have attempt {attempt.fencing_token} (any more)"
            )
