"""What is answered about claims: that they wait and for whom, and why they are refused."""

from collections.abc import Sequence

from coord.v1 import claims_pb2 as pb
from coord.v1 import common_pb2
from coord_runtime.globs import Comparison

from coord_coordinator.claim_line import Deadlock
from coord_coordinator.resources import common, resource_text

_REASONS_MAX = 10


def other_claim(known: pb.Claim, asked: pb.Claim) -> common_pb2.Reason | None:
    """Return why a claim is not the known one that was asked for under its id, if it is not."""
    if known.holder != asked.holder or list(known.resources) != list(asked.resources):
        message = f"claim id {asked.claim_id!r} was used for another request; choose a new one"
        return common_pb2.Reason(code="CLAIM_ID_USED", message=message)
    if known.state > pb.CLAIM_STATE_GRANTED:
        message = f"claim {asked.claim_id!r} has ended; ask under a new id"
        return common_pb2.Reason(code="CLAIM_ENDED", message=message)
    return None


def must_wait(claim: pb.Claim, blockers: Sequence[pb.Claim]) -> pb.ClaimResult:
    """Return that a claim waits for others, and why for the first ten of them."""
    comparison = Comparison()
    reasons = [claimed(claim, one, comparison) for one in blockers[:_REASONS_MAX]]
    wait = pb.ClaimWait(place=len(blockers), reasons=reasons)
    return pb.ClaimResult(claim_id=claim.claim_id, wait=wait)


def would_deadlock(claim: pb.Claim, deadlock: Deadlock, holders: Sequence[str]) -> pb.ClaimResult:
    """Return that a claim would close a circle.

    Args:
        claim: What was asked for.
        deadlock: The circle.
        holders: Whose claims that is made of, in its order.
    """
    message = (
        f"{claim.holder} would wait for {', which waits for '.join(holders)}"
        "; release what you hold and ask for all of it at once"
    )
    metadata = {"circle": " ".join(deadlock.circle[:20])}
    reason = common_pb2.Reason(code="DEADLOCK", message=message, metadata=metadata)
    return pb.ClaimResult(claim_id=claim.claim_id, refusal=reason)


def claimed(claim: pb.Claim, other: pb.Claim, comparison: Comparison) -> common_pb2.Reason:
    """Return that a claim waits for another one, and what they have in common."""
    resource = common(other, claim, comparison)
    text = "" if resource is None else resource_text(resource)
    does = "holds" if other.state == pb.CLAIM_STATE_GRANTED else "waits for"
    return common_pb2.Reason(
        code="CLAIMED",
        message=f"{other.holder} {does} {text}",
        metadata={"claim": other.claim_id, "holder": other.holder, "resource": text},
    )


def failed(claim_id: str, reason: str, message: str) -> pb.ClaimReportResult:
    """Return why a claim was not given back or renewed."""
    error = common_pb2.ItemError(reason=reason, message=message)
    return pb.ClaimReportResult(claim_id=claim_id, error=error)
