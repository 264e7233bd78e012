"""What is told of several changes of claims in one commit."""

from coord.v1 import claims_pb2
from coord_coordinator.store import ClaimChange, StoredClaim


def test_an_end_is_told_before_what_was_granted_by_it() -> None:
    change = ClaimChange()
    waiting, ending = (StoredClaim(claims_pb2.Claim(claim_id=one), 0, told=True) for one in "ab")
    for claim in (waiting, ending, waiting):
        change.save(claim)
    assert list(change.saved) == ["b", "a"]
