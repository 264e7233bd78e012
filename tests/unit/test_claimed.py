"""Which changes wait for the claims of others."""

from coord.v1 import claims_pb2, common_pb2, integrator_pb2
from coord_integrator.claimed import Touched, held_back


def change(name: str, token: int) -> integrator_pb2.Change:
    attempt = common_pb2.AttemptRef(task_id=name, fencing_token=token)
    return integrator_pb2.Change(
        change_id=f"{name}@{token}", attempt=attempt, worker=f"worker-{name}"
    )


def claim(holder: str, glob: str, of: integrator_pb2.Change | None = None) -> claims_pb2.Claim:
    resources = [claims_pb2.Resource(path=glob), claims_pb2.Resource(name="port/1")]
    attempt = of.attempt if of else None
    return claims_pb2.Claim(claim_id="c", holder=holder, resources=resources, attempt=attempt)


def held(*claims: claims_pb2.Claim, **paths: tuple[integrator_pb2.Change, str]) -> set[str]:
    changes = [one for one, _ in paths.values()]
    touched = {one.change_id: Touched.of([path]) for one, path in paths.values()}
    return {one.partition("@")[0] for one in held_back(changes, touched, claims)}


A, B, C = change("a", 1), change("b", 2), change("c", 3)


def test_a_change_waits_for_a_claim_of_somebody_else_on_what_it_touches() -> None:
    assert held(claim("ann", "/src/"), a=(A, "src/x.py"), b=(B, "docs/x.py")) == {"a"}
    assert held(claim("ann", "*.py"), a=(A, "src/x.py"), b=(B, "docs/x.md")) == {"a"}
    assert held(claim("ann", "/src/y.py"), a=(A, "src/x.py")) == set()


def test_a_name_that_is_not_utf_8_can_be_claimed_and_told() -> None:
    touched = {A.change_id: Touched.of(["src/caf\udce9"])}
    (reason,) = held_back([A], touched, [claim("ann", "/src/")]).values()
    assert "src/caf\ufffd" in reason.message


def test_a_change_does_not_wait_for_its_own_claims_but_for_its_workers_next_attempts() -> None:
    own, next_one = claim("worker-a", "*", A), claim("worker-a", "*", change("d", 9))
    assert held(own, claim("worker-a", "*"), a=(A, "x")) == set()
    assert held(next_one, a=(A, "x")) == {"a"}


def test_a_change_waits_for_one_that_lands_and_not_for_one_that_waits_itself() -> None:
    of_b = claim("worker-b", "/x", B)
    assert held(of_b, a=(A, "x"), b=(B, "y")) == {"a"}
    assert held(of_b, claim("ann", "/y"), a=(A, "x"), b=(B, "y")) == {"b"}


def test_of_changes_in_a_circle_one_goes_first() -> None:
    circle = (claim("w", "/y", A), claim("w", "/z", B), claim("w", "/x", C))
    assert held(*circle, a=(A, "x"), b=(B, "y"), c=(C, "z")) == {"a", "c"}
